#include "eq_arg.h"

void eq_arg_s8(const eq_arg_t* p, const int8_t* input, int32_t* output) {
    for (int32_t i = 0; i < p->outer; i++) {
        for (int32_t j = 0; j < p->inner; j++) {
            int32_t best = 0;
            int32_t greatest = input[j] ^ p->flip;
            for (int32_t k = 1; k < p->size; k++) {
                const int32_t value = input[k * p->inner + j] ^ p->flip;
                if (value > greatest) {
                    greatest = value;
                    best = k;
                }
            }
            *output++ = best;
        }
        input += p->size * p->inner;
    }
}
