#include "eq_lstm.h"

static int32_t limit(int32_t value) {
    return eq_clamp(value, INT16_MIN, INT16_MAX);
}

static int32_t product(const eq_lstm_scale_t* scale, int32_t a, int32_t b) {
    return eq_multiply(a * b, scale->multiplier, scale->shift);
}

void eq_lstm_cell(const eq_lstm_cell_t* p, int32_t count, eq_lstm_gates_t* gates, int16_t* cell,
                  int32_t* shown) {
    eq_sigmoid_s16_t gate = p->gate;
    eq_sigmoid_s16_t bent = p->cell;
    gate.count = count;
    bent.count = count;
    eq_logistic_s16(&gate, gates->input, gates->input);
    eq_logistic_s16(&gate, gates->forget, gates->forget);
    eq_tanh_s16(&gate, gates->cell, gates->cell);
    eq_logistic_s16(&gate, gates->output, gates->output);
    for (int32_t i = 0; i < count; i++) {
        const int32_t kept = limit(product(&p->forgotten, gates->forget[i], cell[i]));
        const int32_t added = limit(product(&p->added, gates->input[i], gates->cell[i]));
        int32_t value = limit(kept + added);
        if (p->cell_is_limited) {
            value = eq_clamp(value, -p->cell_limit, p->cell_limit);
        }
        cell[i] = (int16_t)value;
    }
    eq_tanh_s16(&bent, cell, gates->cell);
    for (int32_t i = 0; i < count; i++) {
        shown[i] = product(&p->shown, gates->cell[i], gates->output[i]) + p->hidden_zero_point;
    }
}
