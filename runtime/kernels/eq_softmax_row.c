#include "eq_fixed_point.h"
#include "eq_softmax.h"

/* Sums of exponentials have this many bits above the point. */
#define SUM_INTEGER_BITS 12

eq_softmax_row_t eq_softmax_row(const eq_softmax_s8_t* p, const int8_t* input) {
    eq_softmax_row_t row;
    row.largest = INT8_MIN;
    for (int32_t i = 0; i < p->depth; i++) {
        row.largest = eq_max(row.largest, input[i]);
    }
    uint32_t sum = 0;
    for (int32_t i = 0; i < p->depth; i++) {
        const int32_t below = row.largest - input[i];
        if (below < p->exp_count) {
            sum += (uint32_t)eq_divide_by_pot(p->exp_q31[below], SUM_INTEGER_BITS);
        }
    }
    /* sum = (1 + fraction) * 2^(SUM_INTEGER_BITS - headroom), since the largest gives 1. */
    const int32_t headroom = eq_leading_zeros(sum);
    const int32_t fraction = (int32_t)((sum << headroom) - 0x80000000u);
    row.scale = eq_one_over_one_plus(fraction);
    row.exponent = SUM_INTEGER_BITS - headroom + 31;
    return row;
}
