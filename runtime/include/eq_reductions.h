/* Reductions beyond MEAN and SUM of int8, over the sides that eq_reduce.h describes. */
#ifndef EQ_REDUCTIONS_H_
#define EQ_REDUCTIONS_H_

#include "eq_reduce.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Elements from one value of reduced[0], kept[1] and reduced[1] to the next one. */
typedef struct {
    int32_t outer;
    int32_t middle;
    int32_t inner;
} eq_reduce_steps_t;

static inline eq_reduce_steps_t eq_reduce_steps(const eq_reduce_shape_t* shape) {
    const int32_t inner = shape->kept[2];
    const int32_t middle = inner * shape->reduced[1];
    const eq_reduce_steps_t steps = {middle * shape->kept[1], middle, inner};
    return steps;
}

/* MEAN and SUM of int16: as eq_mean_s8, whose sums wrap at 32 bits too. `start` is modulo 2^32.
 *
 * Formula: TFLM's reference_ops::QuantizedMeanOrSum.
 */
void eq_mean_s16(const eq_mean_t* p, const int16_t* input, int16_t* output);

typedef struct {
    eq_reduce_shape_t shape;
    int32_t flip; /* 0 for the largest value, -1 for the smallest: the largest complement's */
} eq_reduce_max_t;

/* REDUCE_MAX and REDUCE_MIN; input and output have the same scale and zero point.
 *
 * Formula: EvalMinMaxHelper of TFLM's reduce_common.cc.
 */
void eq_reduce_max_s8(const eq_reduce_max_t* p, const int8_t* input, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_REDUCTIONS_H_ */
