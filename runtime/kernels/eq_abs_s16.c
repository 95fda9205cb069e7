#include "eq_function.h"
#include "eq_requantize.h"

void eq_abs_s16(const eq_scaled_t* p, const int16_t* input, int16_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        const int32_t magnitude = input[i] < 0 ? -input[i] : input[i];
        output[i] =
            (int16_t)eq_requantize(magnitude, p->multiplier, p->shift, 0, INT16_MIN, INT16_MAX);
    }
}
