#include "eq_activation_s16.h"
#include "eq_requantize.h"

void eq_relu_s16(const eq_relu_s16_t* p, const int16_t* input, int16_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        output[i] = (int16_t)eq_requantize(input[i] - p->input_zero_point, p->multiplier, p->shift,
                                           p->output_zero_point, p->output_min, p->output_max);
    }
}
