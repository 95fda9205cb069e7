#include "eq_matmul.h"
#include "eq_requantize.h"

static void multiply(const eq_batch_matmul_t* p, const int16_t* a, const int16_t* b,
                     int16_t* output) {
    for (int32_t i = 0; i < p->rows; i++) {
        for (int32_t j = 0; j < p->columns; j++) {
            const int16_t* x = a + i * p->a_row;
            const int16_t* y = b + j * p->b_column;
            int64_t sum = 0;
            for (int32_t k = 0; k < p->depth; k++) {
                sum += *x * *y;
                x += p->a_step;
                y += p->b_step;
            }
            const int32_t scaled = eq_multiply_s64(sum, p->multiplier, p->shift);
            *output++ = (int16_t)eq_clamp(scaled, INT16_MIN, INT16_MAX);
        }
    }
}

void eq_batch_matmul_s16(const eq_batch_matmul_t* p, const int16_t* a, const int16_t* b,
                         int16_t* output) {
    const int32_t last = p->shape.rank - 1;
    const int32_t a_size = p->rows * p->depth;
    const int32_t b_size = p->depth * p->columns;
    eq_walk_t walk = {{0}, 0, 0};
    do {
        for (int32_t i = 0; i < p->shape.size[last]; i++) {
            multiply(p, a + (walk.offset_a + i * p->shape.step_a[last]) * a_size,
                     b + (walk.offset_b + i * p->shape.step_b[last]) * b_size, output);
            output += p->rows * p->columns;
        }
    } while (eq_broadcast_next(&p->shape, &walk));
}
