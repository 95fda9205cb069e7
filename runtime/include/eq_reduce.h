/* Reductions over any sides of a tensor. */
#ifndef EQ_REDUCE_H_
#define EQ_REDUCE_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The input's sides, the outermost first: kept[0], reduced[0], kept[1], reduced[1], kept[2]. The
 * build joins neighbours of one kind and fills up with sides of 1. The output is
 * [kept[0]][kept[1]][kept[2]].
 */
typedef struct {
    int32_t kept[3];
    int32_t reduced[2];
} eq_reduce_shape_t;

typedef struct {
    eq_reduce_shape_t shape;
    int32_t start;      /* -(input zero point) * (values in a sum) */
    int32_t multiplier; /* input scale / output scale; for MEAN also / (values in a sum) */
    int32_t shift;
    int32_t output_zero_point;
} eq_mean_t;

/* MEAN and SUM. Formula: TFLM's reference_ops::QuantizedMeanOrSum. */
void eq_mean_s8(const eq_mean_t* p, const int8_t* input, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_REDUCE_H_ */
