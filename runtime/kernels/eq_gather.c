#include "eq_move.h"
#include "eq_requantize.h"

#include <string.h>

void eq_gather(const eq_gather_t* p, const void* input, const int32_t* indices, void* output) {
    const uint8_t* from = input;
    uint8_t* to = output;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t i = 0; i < p->outer; i++) {
            for (int32_t j = 0; j < p->count; j++) {
                const int32_t index = eq_clamp(indices[j], 0, p->axis_size - 1);
                memcpy(to, from + index * p->size, (size_t)p->size);
                to += p->size;
            }
            from += p->axis_size * p->size;
        }
        indices += p->count;
    }
}
