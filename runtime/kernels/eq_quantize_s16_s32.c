#include "eq_convert.h"

void eq_quantize_s16_s32(const eq_quantize_t* p, const int16_t* input, int32_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        output[i] = eq_quantized(p, input[i], INT32_MIN, INT32_MAX);
    }
}
