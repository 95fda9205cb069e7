#include "eq_move.h"

#include <string.h>

void eq_space_to_batch(const eq_block_move_t* p, const void* image, void* blocks) {
    const uint8_t* from = image;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->height; y++) {
            for (int32_t x = 0; x < p->width; x++) {
                uint8_t* to = (uint8_t*)blocks + eq_blocks_offset(p, batch, y, x);
                memcpy(to, from, (size_t)p->pixel);
                from += p->pixel;
            }
        }
    }
}
