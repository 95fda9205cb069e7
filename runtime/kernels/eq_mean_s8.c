#include "eq_reduce.h"
#include "eq_requantize.h"

/* The sum of `start` and the values that share an output: `outer` groups of `inner` values. */
static int32_t sum(const int8_t* values, int32_t outer, int32_t outer_step, int32_t inner,
                   int32_t inner_step, int32_t start) {
    uint32_t total = (uint32_t)start;
    for (int32_t i = 0; i < outer; i++) {
        for (int32_t j = 0; j < inner; j++) {
            const int32_t value = values[j * inner_step];
            total += (uint32_t)value;
        }
        values += outer_step;
    }
    return (int32_t)total;
}

void eq_mean_s8(const eq_mean_t* p, const int8_t* input, int8_t* output) {
    const eq_reduce_shape_t* shape = &p->shape;
    const int32_t inner_step = shape->kept[2];
    const int32_t middle_step = inner_step * shape->reduced[1];
    const int32_t outer_step = middle_step * shape->kept[1];
    for (int32_t i = 0; i < shape->kept[0]; i++) {
        for (int32_t j = 0; j < shape->kept[1]; j++) {
            for (int32_t k = 0; k < shape->kept[2]; k++) {
                const int32_t total = sum(input + j * middle_step + k, shape->reduced[0],
                                          outer_step, shape->reduced[1], inner_step, p->start);
                *output++ = (int8_t)eq_requantize(total, p->multiplier, p->shift,
                                                  p->output_zero_point, INT8_MIN, INT8_MAX);
            }
        }
        input += shape->reduced[0] * outer_step;
    }
}
