#include "eq_arithmetic.h"

void eq_minimum_s8(const eq_broadcast_t* p, const int8_t* a, const int8_t* b, int8_t* output) {
    const int32_t last = p->rank - 1;
    eq_walk_t walk = {{0}, 0, 0};
    do {
        const int8_t* x = a + walk.offset_a;
        const int8_t* y = b + walk.offset_b;
        for (int32_t i = 0; i < p->size[last]; i++) {
            *output++ = (int8_t)eq_min(*x, *y);
            x += p->step_a[last];
            y += p->step_b[last];
        }
    } while (eq_broadcast_next(p, &walk));
}
