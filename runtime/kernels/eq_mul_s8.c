#include "eq_arithmetic.h"

static int32_t product(const eq_mul_t* p, int32_t x, int32_t y) {
    return eq_requantize((x - p->a_zero_point) * (y - p->b_zero_point), p->multiplier, p->shift,
                         p->output_zero_point, p->output_min, p->output_max);
}

#define EQ_BINARY eq_mul_s8
#define EQ_PARAMETERS eq_mul_t
#define EQ_SHAPE &p->shape
#define EQ_VALUE int8_t
#define EQ_RESULT(p, x, y) product(p, x, y)
#include "eq_binary_body.h"
