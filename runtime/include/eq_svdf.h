/* SVDF: a layer that remembers what its features were in the last calls. */
#ifndef EQ_SVDF_H_
#define EQ_SVDF_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A unit is `rank` filters. A filter takes one feature of each input, and weighs its features of
 * the last `memory` calls.
 */
typedef struct {
    int32_t batches;
    int32_t input_size;
    int32_t units;
    int32_t rank;
    int32_t memory;
    const int8_t* feature_weights; /* [units * rank][input_size] */
    const int32_t* feature_bias;   /* -(input zero point) * (sum of the filter's weights) */
    const int16_t* time_weights;   /* [units * rank][memory], the oldest first */
    const int32_t* bias;           /* [units] */
    int32_t feature_multiplier;    /* from a sum to a feature of the state */
    int32_t feature_shift;         /* -31 .. 30, as output_shift */
    int32_t output_multiplier;
    int32_t output_shift;
    int32_t output_zero_point;
} eq_svdf_s8_t;

/* SVDF: input [batches][input_size], output [batches][units]. `state` is
 * [batches][units * rank][memory], with the zero point 0, and is kept between calls. Sums wrap at
 * 32 bits.
 *
 * Formula: EvalIntegerSvdfReference of TFLM's svdf_common.cc.
 */
void eq_svdf_s8(const eq_svdf_s8_t* p, const int8_t* input, int16_t* state, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_SVDF_H_ */
