#include "eq_activation.h"
#include "eq_requantize.h"

void eq_clamp_s8(const eq_clamp_s8_t* p, const int8_t* input, int8_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        output[i] = (int8_t)eq_clamp(input[i], p->low, p->high);
    }
}
