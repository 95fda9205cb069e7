#include "eq_arithmetic.h"

void eq_squared_difference_s8(const eq_add_t* p, const int8_t* a, const int8_t* b, int8_t* output) {
    const int32_t last = p->shape.rank - 1;
    eq_walk_t walk = {{0}, 0, 0};
    do {
        const int8_t* x = a + walk.offset_a;
        const int8_t* y = b + walk.offset_b;
        for (int32_t i = 0; i < p->shape.size[last]; i++) {
            const int32_t difference =
                eq_addend(&p->a, *x, p->left_shift) - eq_addend(&p->b, *y, p->left_shift);
            *output++ = (int8_t)eq_requantize(difference * difference, p->output_multiplier,
                                              p->output_shift, p->output_zero_point, p->output_min,
                                              p->output_max);
            x += p->shape.step_a[last];
            y += p->shape.step_b[last];
        }
    } while (eq_broadcast_next(&p->shape, &walk));
}
