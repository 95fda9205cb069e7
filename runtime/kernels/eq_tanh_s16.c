#include "eq_activation_s16.h"

/* A step of the table is 2^8 of the input's, since tanh(x) = 2 / (1 + exp(-2 x)) - 1. */
#define BITS 8

/* Bits that twice the table has more than the output. */
#define EXTRA_BITS (16 + BITS - 1 - 15)

void eq_tanh_s16(const eq_sigmoid_s16_t* p, const int16_t* input, int16_t* output) {
    const int32_t half = (int32_t)1 << (EXTRA_BITS - 1);
    for (int32_t i = 0; i < p->count; i++) {
        const int32_t x = eq_sigmoid_input(p, input[i]);
        const int32_t magnitude = x < 0 ? -x : x;
        const int is_saturated = magnitude >> BITS >= EQ_SIGMOID_SIZE - 1;
        const int32_t y =
            is_saturated ? (int32_t)UINT16_MAX << BITS : eq_sigmoid(p->table, magnitude, BITS);
        const int32_t middle = (int32_t)1 << (16 + BITS - 1);
        output[i] = (int16_t)((x < 0 ? middle - y + half - 1 : y - middle + half) >> EXTRA_BITS);
    }
}
