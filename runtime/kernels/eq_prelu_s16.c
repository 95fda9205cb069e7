#include "eq_prelu.h"

void eq_prelu_s16(const eq_prelu_t* p, const int16_t* input, const int8_t* slopes,
                  int16_t* output) {
    const int32_t last = p->shape.rank - 1;
    eq_walk_t walk = {{0}, 0, 0};
    do {
        const int8_t* slope = slopes + walk.offset_b;
        for (int32_t i = 0; i < p->shape.size[last]; i++) {
            *output++ = (int16_t)eq_clamp(eq_prelu(p, *input++, *slope), INT16_MIN, INT16_MAX);
            slope += p->shape.step_b[last];
        }
    } while (eq_broadcast_next(&p->shape, &walk));
}
