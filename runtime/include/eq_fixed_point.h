/* Functions of gemmlowp's 32-bit fixed-point numbers. Qn: n bits above the binary point, the
 * sign not counted; 31 - n below it.
 */
#ifndef EQ_FIXED_POINT_H_
#define EQ_FIXED_POINT_H_

#include "eq_requantize.h"

/* Leading zero bits of x; 32 for 0. */
static inline int32_t eq_leading_zeros(uint32_t x) {
    int32_t count = 0;
    if (x == 0) {
        return 32;
    }
    while ((x & 0x80000000u) == 0) {
        x <<= 1;
        count++;
    }
    return count;
}

/* x * 2^exponent, limited to int32. exponent 1 .. 30.
 *
 * gemmlowp's SaturatingRoundingMultiplyByPOT, the part for a positive exponent.
 */
static inline int32_t eq_saturating_shift(int32_t x, int32_t exponent) {
    const int32_t threshold = (int32_t)(((uint32_t)1 << (31 - exponent)) - 1);
    if (x > threshold) {
        return INT32_MAX;
    }
    if (x < -threshold) {
        return INT32_MIN;
    }
    return (int32_t)((uint32_t)x << exponent);
}

/* 1 / (1 + x) for x in Q0, 0 <= x < 1; the result in Q0.
 *
 * gemmlowp's one_over_one_plus_x_for_x_in_0_1: three steps of Newton's method for the reciprocal
 * of (1 + x) / 2, from 48/17 - 32/17 * (1 + x) / 2, in Q2.
 */
static inline int32_t eq_one_over_one_plus(int32_t x) {
    const int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t y = 1515870810 + eq_high_mul(half_denominator, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - eq_high_mul(half_denominator, y);
        y += eq_saturating_shift(eq_high_mul(y, error), 2);
    }
    return eq_saturating_shift(y, 1);
}

#endif /* EQ_FIXED_POINT_H_ */
