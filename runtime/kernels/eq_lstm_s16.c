#include "eq_conv_s16.h"
#include "eq_lstm.h"

#include <string.h>

/* Adds the products of units first .. first + count - 1 to `gate`. */
static void add_product(const eq_lstm_product_s16_t* p, const int16_t* values, int32_t size,
                        int32_t first, int32_t count, int16_t* gate) {
    int64_t sums[EQ_LSTM_BLOCK];
    for (int32_t i = 0; i < count; i++) {
        sums[i] = p->bias ? p->bias[first + i] : 0;
    }
    eq_dot_s16(values, size, p->weights + first * size, size, count, sums);
    for (int32_t i = 0; i < count; i++) {
        eq_lstm_add(gate + i, eq_multiply_s64(sums[i], p->multiplier, p->shift));
    }
}

/* The gate's values before its function. */
static void open_gate(const eq_lstm_s16_t* p, const eq_lstm_gate_s16_t* gate, const int16_t* input,
                      const int16_t* hidden, int32_t first, int32_t count, int16_t* values) {
    memset(values, 0, (size_t)count * sizeof *values);
    add_product(&gate->input, input, p->shape.input_size, first, count, values);
    add_product(&gate->hidden, hidden, p->shape.units, first, count, values);
}

/* The new cells of the block at `first`, in place, and what they show in `output`. */
static void update(const eq_lstm_s16_t* p, const int16_t* input, const int16_t* hidden,
                   int32_t first, int32_t count, int16_t* cell, int16_t* output) {
    eq_lstm_gates_t gates;
    int32_t shown[EQ_LSTM_BLOCK];
    open_gate(p, &p->input_gate, input, hidden, first, count, gates.input);
    open_gate(p, &p->forget_gate, input, hidden, first, count, gates.forget);
    open_gate(p, &p->cell_gate, input, hidden, first, count, gates.cell);
    open_gate(p, &p->output_gate, input, hidden, first, count, gates.output);
    eq_lstm_cell(&p->cell, count, &gates, cell, shown);
    for (int32_t i = 0; i < count; i++) {
        output[i] = (int16_t)eq_clamp(shown[i], INT16_MIN, INT16_MAX);
    }
}

void eq_lstm_s16(const eq_lstm_s16_t* p, const int16_t* input, int16_t* hidden, int16_t* cell,
                 int16_t* output) {
    const eq_lstm_shape_t* s = &p->shape;
    for (int32_t batch = 0; batch < s->batches; batch++) {
        for (int32_t time = 0; time < s->times; time++) {
            const int32_t at = time * s->time_step + batch * s->batch_step;
            int16_t* shown = output + at * s->units;
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
