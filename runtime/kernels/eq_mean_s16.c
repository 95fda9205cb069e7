#include "eq_reductions.h"
#include "eq_requantize.h"

/* `start` and the values that share an output, the first of which is at `values`. */
static int32_t sum(const eq_reduce_shape_t* shape, const eq_reduce_steps_t* steps,
                   const int16_t* values, int32_t start) {
    uint32_t total = (uint32_t)start;
    for (int32_t i = 0; i < shape->reduced[0]; i++) {
        for (int32_t j = 0; j < shape->reduced[1]; j++) {
            const int32_t value = values[j * steps->inner];
            total += (uint32_t)value;
        }
        values += steps->outer;
    }
    return (int32_t)total;
}

void eq_mean_s16(const eq_mean_t* p, const int16_t* input, int16_t* output) {
    const eq_reduce_shape_t* shape = &p->shape;
    const eq_reduce_steps_t steps = eq_reduce_steps(shape);
    for (int32_t i = 0; i < shape->kept[0]; i++) {
        for (int32_t j = 0; j < shape->kept[1]; j++) {
            for (int32_t k = 0; k < shape->kept[2]; k++) {
                const int32_t total = sum(shape, &steps, input + j * steps.middle + k, p->start);
                *output++ = (int16_t)eq_requantize(total, p->multiplier, p->shift,
                                                   p->output_zero_point, INT16_MIN, INT16_MAX);
            }
        }
        input += shape->reduced[0] * steps.outer;
    }
}
