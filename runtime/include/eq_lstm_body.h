/* The text that the kernels of eq_lstm.h have in common. A kernel's file defines these, and then
 * includes it:
 *
 *     EQ_LSTM           the function's name, of parameters EQ_PARAMETERS
 *     EQ_GATE           the type of a gate
 *     EQ_VALUE          int8_t or int16_t, with its limits EQ_LEAST and EQ_MOST
 *     add_product(product, values, size, first, count, gate)
 *                       adds the products of units first .. first + count - 1 to `gate`
 */

/* The gate's values before its function. */
static void open_gate(const EQ_PARAMETERS* p, const EQ_GATE* gate, const EQ_VALUE* input,
                      const EQ_VALUE* hidden, int32_t first, int32_t count, int16_t* values) {
    memset(values, 0, (size_t)count * sizeof *values);
    add_product(&gate->input, input, p->shape.input_size, first, count, values);
    add_product(&gate->hidden, hidden, p->shape.units, first, count, values);
}

/* The new cells of the block at `first`, in place, and what they show in `output`. */
static void update(const EQ_PARAMETERS* p, const EQ_VALUE* input, const EQ_VALUE* hidden,
                   int32_t first, int32_t count, int16_t* cell, EQ_VALUE* output) {
    eq_lstm_gates_t gates;
    int32_t shown[EQ_LSTM_BLOCK];
    open_gate(p, &p->input_gate, input, hidden, first, count, gates.input);
    open_gate(p, &p->forget_gate, input, hidden, first, count, gates.forget);
    open_gate(p, &p->cell_gate, input, hidden, first, count, gates.cell);
    open_gate(p, &p->output_gate, input, hidden, first, count, gates.output);
    eq_lstm_cell(&p->cell, count, &gates, cell, shown);
    for (int32_t i = 0; i < count; i++) {
        output[i] = (EQ_VALUE)eq_clamp(shown[i], EQ_LEAST, EQ_MOST);
    }
}

void EQ_LSTM(const EQ_PARAMETERS* p, const EQ_VALUE* input, EQ_VALUE* hidden, int16_t* cell,
             EQ_VALUE* output) {
    const eq_lstm_shape_t* s = &p->shape;
    for (int32_t batch = 0; batch < s->batches; batch++) {
        for (int32_t time = 0; time < s->times; time++) {
            const int32_t at = time * s->time_step + batch * s->batch_step;
            EQ_VALUE* shown = output + at * s->units;
            for (int32_t first = 0; first < s->units; first += EQ_LSTM_BLOCK) {
                update(p, input + at * s->input_size, hidden, first,
                       eq_min(s->units - first, EQ_LSTM_BLOCK), cell + first, shown + first);
            }
            memcpy(hidden, shown, (size_t)s->units * sizeof *hidden);
        }
        hidden += s->units;
        cell += s->units;
    }
}
