#include "eq_fixed_point.h"
#include "eq_softmax.h"

/* Sums of exponentials have this many bits above the point. */
#define SUM_INTEGER_BITS 12

void eq_softmax_s8(const eq_softmax_s8_t* p, const int8_t* input, int8_t* output) {
    for (int32_t row = 0; row < p->rows; row++) {
        int32_t largest = INT8_MIN;
        for (int32_t i = 0; i < p->depth; i++) {
            largest = eq_max(largest, input[i]);
        }
        uint32_t sum = 0;
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t below = largest - input[i];
            if (below < p->exp_count) {
                sum += (uint32_t)eq_divide_by_pot(p->exp_q31[below], SUM_INTEGER_BITS);
            }
        }
        /* sum = (1 + fraction) * 2^(SUM_INTEGER_BITS - headroom), since the largest gives 1. */
        const int32_t headroom = eq_leading_zeros(sum);
        const int32_t fraction = (int32_t)((sum << headroom) - 0x80000000u);
        const int32_t scale = eq_one_over_one_plus(fraction);
        const int32_t exponent = eq_min(SUM_INTEGER_BITS - headroom + 31 - 8, 31);
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t below = largest - input[i];
            int32_t value = INT8_MIN;
            if (below < p->exp_count) {
                const int32_t share = eq_high_mul(scale, p->exp_q31[below]);
                value = eq_min(eq_divide_by_pot(share, exponent) + INT8_MIN, INT8_MAX);
            }
            output[i] = (int8_t)value;
        }
        input += p->depth;
        output += p->depth;
    }
}
