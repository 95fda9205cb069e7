#include "eq_fixed_point.h"
#include "eq_normalize.h"

/* Bits above the point: of sums of exponentials, of a logarithm while it is computed, of
 * differences and logarithms, of outputs.
 */
#define SUM_BITS 12
#define LOG_BITS 6
#define DIFFERENCE_BITS 5
#define OUTPUT_BITS 4

/* The least power of two (in Q6) that a logarithm begins at, and what is taken from it. */
static int32_t power(int32_t exponent, int32_t quarters) {
    return exponent * (1 << (31 - LOG_BITS)) + quarters * (1 << (29 - LOG_BITS));
}

/* The natural logarithm, in Q5, of x >= 1 in Q12.
 *
 * TFLM's log_x_for_x_greater_than_or_equal_to_1: x is 2^n * r, with r between sqrt(1/2) and 1; n *
 * log(2) and a rational function around the fourth root of 1/2 give the two parts.
 */
static int32_t logarithm(int32_t x) {
    const int32_t log_2 = 1488522236;
    const int32_t sqrt_half = 1518500250;
    const int32_t fourth_root_half = 1805811301;
    const int32_t zeros = eq_leading_zeros((uint32_t)x);
    const int32_t a = eq_high_mul(eq_saturating_shift(x, zeros - 1), sqrt_half);
    const int32_t ratio_a = eq_saturating_shift(a, 1);
    const int32_t zeros_b = eq_leading_zeros((uint32_t)eq_high_mul(x, sqrt_half)) - 1;
    const int32_t ratio_b = eq_saturating_shift(x, zeros_b);
    const int32_t r = eq_min(ratio_a, ratio_b);
    const int32_t n = eq_max(power(SUM_BITS - zeros, 1), power(SUM_BITS - zeros_b, -1));

    const int32_t middle = (int32_t)(((int64_t)r + fourth_root_half + 1) / 2);
    const int32_t q = 2 * (r - fourth_root_half);
    const int32_t q2 = eq_high_mul(q, q);
    const int32_t numerator = eq_high_mul(q, r) + eq_high_mul(eq_high_mul(q, q2), 117049297);
    const int32_t denominator = eq_high_mul(middle, 1057819769 + q + eq_high_mul(127690142, q2)) +
                                eq_high_mul(638450708, q);
    const int32_t fraction =
        eq_high_mul(eq_divide_by_pot(numerator, LOG_BITS), eq_one_over_one_plus(denominator));
    return eq_saturating_shift(eq_high_mul(n, log_2) + fraction, LOG_BITS - DIFFERENCE_BITS);
}

void eq_log_softmax_s8(const eq_log_softmax_s8_t* p, const int8_t* input, int8_t* output) {
    for (int32_t row = 0; row < p->rows; row++) {
        int32_t largest = INT8_MIN;
        for (int32_t i = 0; i < p->depth; i++) {
            largest = eq_max(largest, input[i]);
        }
        int32_t sum = 0;
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t below = largest - input[i];
            if (below < p->exp_count) {
                sum += eq_divide_by_pot(p->exp_q31[below], SUM_BITS);
            }
        }
        const int32_t log_sum = logarithm(sum);
        /* Further down, a difference less log_sum would not fit into Q5. */
        const int32_t lowest = eq_multiply(log_sum + INT32_MIN, p->back_multiplier, p->back_shift);
        const int32_t least = eq_max(-p->exp_count, lowest);
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t difference = input[i] - largest;
            int32_t value = INT8_MIN;
            if (difference > least) {
                const int32_t x = eq_multiply(difference, p->multiplier, p->shift) - log_sum;
                value = eq_divide_by_pot(x, 31 - DIFFERENCE_BITS - OUTPUT_BITS) + INT8_MAX;
                value = eq_clamp(value, INT8_MIN, INT8_MAX);
            }
            output[i] = (int8_t)value;
        }
        input += p->depth;
        output += p->depth;
    }
}
