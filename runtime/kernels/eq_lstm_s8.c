#include "eq_dot.h"
#include "eq_lstm.h"
#include "eq_requantize.h"

#include <string.h>

/* Units whose gates are computed together. */
#define BLOCK 16

static int32_t limit(int32_t value) {
    return eq_clamp(value, INT16_MIN, INT16_MAX);
}

/* Adds the products of units first .. first + count - 1 to `gate`. */
static void add_product(const eq_lstm_product_t* p, const int8_t* values, int32_t size,
                        int32_t first, int32_t count, int16_t* gate) {
    uint32_t sums[BLOCK];
    memcpy(sums, p->bias + first, (size_t)count * sizeof *sums);
    eq_dot_s8(values, size, p->weights + first * size, size, count, sums);
    for (int32_t i = 0; i < count; i++) {
        const int32_t product = limit(eq_multiply((int32_t)sums[i], p->multiplier, p->shift));
        gate[i] = (int16_t)limit(gate[i] + product);
    }
}

/* The gate's values before its function. */
static void open_gate(const eq_lstm_s8_t* p, const eq_lstm_gate_t* gate, const int8_t* input,
                      const int8_t* hidden, int32_t first, int32_t count, int16_t* values) {
    memset(values, 0, (size_t)count * sizeof *values);
    add_product(&gate->input, input, p->input_size, first, count, values);
    add_product(&gate->hidden, hidden, p->units, first, count, values);
}

static int32_t product(const eq_lstm_scale_t* scale, int32_t a, int32_t b) {
    return eq_multiply(a * b, scale->multiplier, scale->shift);
}

/* The new cells of the block at `first`, in place, and what they show in `output`. */
static void update(const eq_lstm_s8_t* p, const int8_t* input, const int8_t* hidden, int32_t first,
                   int32_t count, int16_t* cell, int8_t* output) {
    int16_t a[BLOCK];
    int16_t b[BLOCK];
    eq_sigmoid_s16_t gate = p->gate;
    eq_sigmoid_s16_t shown = p->cell;
    gate.count = count;
    shown.count = count;
    open_gate(p, &p->forget_gate, input, hidden, first, count, a);
    eq_logistic_s16(&gate, a, a);
    for (int32_t i = 0; i < count; i++) {
        cell[i] = (int16_t)limit(product(&p->forgotten, a[i], cell[i]));
    }
    open_gate(p, &p->input_gate, input, hidden, first, count, a);
    eq_logistic_s16(&gate, a, a);
    open_gate(p, &p->cell_gate, input, hidden, first, count, b);
    eq_tanh_s16(&gate, b, b);
    for (int32_t i = 0; i < count; i++) {
        int32_t value = limit(cell[i] + limit(product(&p->added, a[i], b[i])));
        if (p->cell_is_limited) {
            value = eq_clamp(value, -p->cell_limit, p->cell_limit);
        }
        cell[i] = (int16_t)value;
    }
    open_gate(p, &p->output_gate, input, hidden, first, count, a);
    eq_logistic_s16(&gate, a, a);
    eq_tanh_s16(&shown, cell, b);
    for (int32_t i = 0; i < count; i++) {
        const int32_t value = product(&p->shown, b[i], a[i]) + p->hidden_zero_point;
        output[i] = (int8_t)eq_clamp(value, INT8_MIN, INT8_MAX);
    }
}

void eq_lstm_s8(const eq_lstm_s8_t* p, const int8_t* input, int8_t* hidden, int16_t* cell,
                int8_t* output) {
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t time = 0; time < p->times; time++) {
            const int32_t at = time * p->time_step + batch * p->batch_step;
            int8_t* shown = output + at * p->units;
            for (int32_t first = 0; first < p->units; first += BLOCK) {
                update(p, input + at * p->input_size, hidden, first,
                       eq_min(p->units - first, BLOCK), cell + first, shown + first);
            }
            memcpy(hidden, shown, (size_t)p->units);
        }
        hidden += p->units;
        cell += p->units;
    }
}
