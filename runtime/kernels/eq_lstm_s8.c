#include "eq_dot.h"
#include "eq_lstm.h"

#include <string.h>

/* Adds the products of units first .. first + count - 1 to `gate`. */
static void add_product(const eq_lstm_product_s8_t* p, const int8_t* values, int32_t size,
                        int32_t first, int32_t count, int16_t* gate) {
    uint32_t sums[EQ_LSTM_BLOCK];
    memcpy(sums, p->bias + first, (size_t)count * sizeof *sums);
    eq_dot_s8(values, size, p->weights + first * size, size, count, sums);
    for (int32_t i = 0; i < count; i++) {
        eq_lstm_add(gate + i, eq_multiply((int32_t)sums[i], p->multiplier, p->shift));
    }
}

#define EQ_LSTM eq_lstm_s8
#define EQ_PARAMETERS eq_lstm_s8_t
#define EQ_GATE eq_lstm_gate_s8_t
#define EQ_VALUE int8_t
#define EQ_LEAST INT8_MIN
#define EQ_MOST INT8_MAX
#include "eq_lstm_body.h"
