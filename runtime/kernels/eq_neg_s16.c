#include "eq_function.h"

void eq_neg_s16(const eq_neg_t* p, const int16_t* input, int16_t* output) {
    for (int32_t i = 0; i < p->count; i++) {
        output[i] = (int16_t)-input[i];
    }
}
