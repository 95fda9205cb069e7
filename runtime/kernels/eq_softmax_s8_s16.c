#include "eq_requantize.h"
#include "eq_softmax.h"

void eq_softmax_s8_s16(const eq_softmax_s8_t* p, const int8_t* input, int16_t* output) {
    for (int32_t r = 0; r < p->rows; r++) {
        const eq_softmax_row_t row = eq_softmax_row(p, input);
        const int32_t exponent = row.exponent - 16;
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t below = row.largest - input[i];
            int32_t value = INT16_MIN;
            if (below < p->exp_count) {
                const int32_t share = eq_high_mul(row.scale, p->exp_q31[below]);
                value = eq_min(eq_divide_by_pot(share, exponent) + INT16_MIN, INT16_MAX);
            }
            output[i] = (int16_t)value;
        }
        input += p->depth;
        output += p->depth;
    }
}
