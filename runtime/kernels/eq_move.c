#include "eq_move.h"

void eq_move(const eq_move_t* p, const void* input, void* output) {
    eq_walk_t walk = {{0}, 0, 0};
    do {
        eq_slabs(&p->slabs, (const uint8_t*)input + walk.offset_a,
                 (uint8_t*)output + walk.offset_b);
    } while (eq_broadcast_next(&p->outer, &walk));
}
