#include "eq_convert.h"

void eq_quantize_s32_s8(const eq_quantize_t* p, const int32_t* input, int8_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        output[i] = (int8_t)eq_quantized(p, input[i], INT8_MIN, INT8_MAX);
    }
}
