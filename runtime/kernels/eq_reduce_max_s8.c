#include "eq_reductions.h"
#include "eq_requantize.h"

/* The largest of the values that share an output, the first of which is at `values`, flipped. */
static int32_t largest(const eq_reduce_max_t* p, const eq_reduce_steps_t* steps,
                       const int8_t* values) {
    int32_t result = INT8_MIN;
    for (int32_t i = 0; i < p->shape.reduced[0]; i++) {
        for (int32_t j = 0; j < p->shape.reduced[1]; j++) {
            result = eq_max(result, values[j * steps->inner] ^ p->flip);
        }
        values += steps->outer;
    }
    return result;
}

void eq_reduce_max_s8(const eq_reduce_max_t* p, const int8_t* input, int8_t* output) {
    const eq_reduce_shape_t* shape = &p->shape;
    const eq_reduce_steps_t steps = eq_reduce_steps(shape);
    for (int32_t i = 0; i < shape->kept[0]; i++) {
        for (int32_t j = 0; j < shape->kept[1]; j++) {
            for (int32_t k = 0; k < shape->kept[2]; k++) {
                const int8_t* values = input + j * steps.middle + k;
                *output++ = (int8_t)(largest(p, &steps, values) ^ p->flip);
            }
        }
        input += shape->reduced[0] * steps.outer;
    }
}
