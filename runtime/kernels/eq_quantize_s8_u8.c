#include "eq_convert.h"

void eq_quantize_s8_u8(const eq_quantize_t* p, const int8_t* input, uint8_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        output[i] = (uint8_t)eq_quantized(p, input[i], 0, UINT8_MAX);
    }
}
