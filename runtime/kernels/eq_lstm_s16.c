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

#define EQ_LSTM eq_lstm_s16
#define EQ_PARAMETERS eq_lstm_s16_t
#define EQ_GATE eq_lstm_gate_s16_t
#define EQ_VALUE int16_t
#define EQ_LEAST INT16_MIN
#define EQ_MOST INT16_MAX
#include "eq_lstm_body.h"
