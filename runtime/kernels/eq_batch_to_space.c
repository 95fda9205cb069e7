#include "eq_move.h"

#include <string.h>

void eq_batch_to_space(const eq_block_move_t* p, const void* blocks, void* image) {
    uint8_t* to = image;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->height; y++) {
            for (int32_t x = 0; x < p->width; x++) {
                const uint8_t* from = (const uint8_t*)blocks + eq_blocks_offset(p, batch, y, x);
                memcpy(to, from, (size_t)p->pixel);
                to += p->pixel;
            }
        }
    }
}
