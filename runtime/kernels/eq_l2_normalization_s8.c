#include "eq_inverse_sqrt.h"
#include "eq_normalize.h"

/* Of the output's scale, 1/128. */
#define OUTPUT_BITS 7

void eq_l2_normalization_s8(const eq_l2_normalization_s8_t* p, const int8_t* input,
                            int8_t* output) {
    for (int32_t row = 0; row < p->rows; row++) {
        int32_t squares = 0;
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t x = input[i] - p->input_zero_point;
            squares += x * x;
        }
        const eq_factor_t factor = eq_inverse_sqrt(squares);
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t x = input[i] - p->input_zero_point;
            output[i] = (int8_t)eq_requantize(x, factor.multiplier, factor.shift + OUTPUT_BITS, 0,
                                              INT8_MIN, INT8_MAX);
        }
        input += p->depth;
        output += p->depth;
    }
}
