#include "eq_arithmetic.h"

void eq_mul_s16(const eq_mul_t* p, const int16_t* a, const int16_t* b, int16_t* output) {
    const int32_t last = p->shape.rank - 1;
    eq_walk_t walk = {{0}, 0, 0};
    do {
        const int16_t* x = a + walk.offset_a;
        const int16_t* y = b + walk.offset_b;
        for (int32_t i = 0; i < p->shape.size[last]; i++) {
            const int32_t product = (*x - p->a_zero_point) * (*y - p->b_zero_point);
            *output++ = (int16_t)eq_requantize(product, p->multiplier, p->shift,
                                               p->output_zero_point, p->output_min, p->output_max);
            x += p->shape.step_a[last];
            y += p->shape.step_b[last];
        }
    } while (eq_broadcast_next(&p->shape, &walk));
}
