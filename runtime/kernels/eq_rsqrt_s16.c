#include "eq_function.h"
#include "eq_inverse_sqrt.h"

/* Bits that the root is shifted up by, so that it has digits. */
#define ROOT_SHIFT 20

void eq_rsqrt_s16(const eq_scaled_t* p, const int16_t* input, int16_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        int32_t value = INT16_MAX;
        if (input[i] > 0) {
            const eq_factor_t factor = eq_inverse_sqrt(input[i]);
            const int32_t root = eq_multiply(1, factor.multiplier, factor.shift + ROOT_SHIFT);
            value = eq_requantize(root, p->multiplier, p->shift, 0, INT16_MIN, INT16_MAX);
        }
        output[i] = (int16_t)value;
    }
}
