#include "eq_convert.h"

void eq_quantize_s32_s16(const eq_quantize_t* p, const int32_t* input, int16_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        output[i] = (int16_t)eq_quantized(p, input[i], INT16_MIN, INT16_MAX);
    }
}
