#include "eq_activation_s16.h"
#include "eq_fixed_point.h"

/* A table of 513 entries at `value`, which has 7 bits between two entries. */
static int32_t look_up(const int16_t* table, int32_t value) {
    const int16_t* entry = table + 256 + (value >> 7);
    return entry[0] + (((entry[1] - entry[0]) * (value & 0x7f) + 64) >> 7);
}

/* exp of a value that is `difference` from the largest. */
static int32_t exponential(const eq_softmax_s16_t* p, int32_t difference) {
    const int32_t scaled = eq_multiply(difference, p->multiplier, p->shift);
    const int32_t value = eq_wrapping_add(scaled, INT16_MAX);
    return look_up(p->exp, eq_clamp(value, INT16_MIN, INT16_MAX));
}

static void softmax(const eq_softmax_s16_t* p, const int16_t* input, int16_t* output) {
    int32_t largest = INT16_MIN;
    for (int32_t i = 0; i < p->depth; i++) {
        largest = eq_max(largest, input[i]);
    }
    uint32_t sum = 0;
    for (int32_t i = 0; i < p->depth; i++) {
        const int32_t value = exponential(p, input[i] - largest);
        sum += (uint32_t)value;
        output[i] = (int16_t)value;
    }
    /* sum = (1 + x) * 2^exponent with x in 0 .. 1, of which the table wants 16 bits. */
    const int32_t exponent = 31 - eq_leading_zeros(sum);
    const uint32_t normal = ((sum << (30 - exponent)) + (1u << 13)) >> 14;
    const int32_t x = eq_clamp((int32_t)normal - (1 << 15) - (1 << 16), INT16_MIN, INT16_MAX);
    const int32_t scale = look_up(p->reciprocal, x);
    for (int32_t i = 0; i < p->depth; i++) {
        const int32_t value = (output[i] * scale + (1 << (exponent - 1))) >> exponent;
        output[i] = (int16_t)eq_clamp(value, 0, INT16_MAX);
    }
}

void eq_softmax_s16(const eq_softmax_s16_t* p, const int16_t* input, int16_t* output) {
    for (int32_t row = 0; row < p->rows; row++) {
        softmax(p, input + row * p->depth, output + row * p->depth);
    }
}
