#include "eq_function.h"
#include "eq_requantize.h"

void eq_leaky_relu_s16(const eq_leaky_relu_t* p, const int16_t* input, int16_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        const int32_t x = input[i] - p->input_zero_point;
        int32_t y;
        if (x >= 0) {
            y = eq_multiply(x, p->multiplier, p->shift);
        } else {
            y = p->below_sign * eq_multiply(x, p->below_multiplier, p->below_shift);
        }
        y = eq_wrapping_add(y, p->output_zero_point);
        output[i] = (int16_t)eq_clamp(y, INT16_MIN, INT16_MAX);
    }
}
