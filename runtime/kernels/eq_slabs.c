#include "eq_move.h"

#include <string.h>

/* The sizes of one value have loops of their own, without a call for each. */
void eq_slabs(const eq_slabs_t* p, const void* input, void* output) {
    const uint8_t* from = (const uint8_t*)input + p->input_start;
    uint8_t* to = (uint8_t*)output + p->output_start;
    if (p->size == 1) {
        for (int32_t i = 0; i < p->count; i++) {
            to[i * p->output_step] = from[i * p->input_step];
        }
    } else if (p->size == 2) {
        for (int32_t i = 0; i < p->count; i++) {
            const uint8_t low = from[i * p->input_step];
            const uint8_t high = from[i * p->input_step + 1];
            to[i * p->output_step] = low;
            to[i * p->output_step + 1] = high;
        }
    } else {
        for (int32_t i = 0; i < p->count; i++) {
            memmove(to + i * p->output_step, from + i * p->input_step, (size_t)p->size);
        }
    }
}
