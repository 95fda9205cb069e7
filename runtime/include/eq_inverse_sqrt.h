/* 1 / sqrt of an integer. */
#ifndef EQ_INVERSE_SQRT_H_
#define EQ_INVERSE_SQRT_H_

#include "eq_fixed_point.h"

/* A real factor: multiplier * 2^(shift - 31). */
typedef struct {
    int32_t multiplier;
    int32_t shift; /* -15 .. 0 */
} eq_factor_t;

/* 1 / sqrt(x) for x >= 0; of 0 as of 1.
 *
 * TFLM's GetInvSqrtQuantizedMultiplierExp: five steps of Newton's method from 1, in Q3, for x
 * brought to 2^27 .. 2^29 - 1 by powers of 4.
 */
static inline eq_factor_t eq_inverse_sqrt(int32_t x) {
    eq_factor_t factor = {INT32_MAX, 0};
    int32_t right = 11;
    if (x <= 1) {
        return factor;
    }
    while (x >= 1 << 29) {
        x /= 4;
        right++;
    }
    const int32_t pairs = (eq_leading_zeros((uint32_t)x) - 1) / 2 - 1;
    right -= pairs;
    x = (int32_t)((uint32_t)x << (2 * pairs)) >> 1;
    const int32_t half = eq_divide_by_pot(x, 1);
    const int32_t half_three = (1 << 28) + (1 << 27);
    int32_t y = 1 << 28;
    for (int32_t i = 0; i < 5; i++) {
        const int32_t cube = eq_saturating_shift(eq_high_mul(eq_high_mul(y, y), y), 6);
        const int32_t next = eq_high_mul(half_three, y) - eq_high_mul(half, cube);
        y = eq_saturating_shift(next, 3);
    }
    factor.multiplier = eq_high_mul(y, 1518500250); /* sqrt(1/2) in Q0 */
    if (right < 0) {
        factor.multiplier = (int32_t)((uint32_t)factor.multiplier << -right);
        right = 0;
    }
    factor.shift = -right;
    return factor;
}

#endif /* EQ_INVERSE_SQRT_H_ */
