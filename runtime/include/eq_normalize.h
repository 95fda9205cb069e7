/* Functions of whole rows of int8 values, beside SOFTMAX. */
#ifndef EQ_NORMALIZE_H_
#define EQ_NORMALIZE_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t rows;
    int32_t depth;           /* below 4096: a row's exponentials must not add up to 2^12 */
    int32_t exp_count;       /* 1 .. 256; what is further below the maximum counts as 0 */
    const int32_t* exp_q31;  /* exp(-i * scale) with 31 bits below the point, from the build */
    int32_t multiplier;      /* brings a difference to Q5 */
    int32_t shift;           /* 2 .. 31; at 31 exp_count is 1 and the only difference 0 */
    int32_t back_multiplier; /* brings a number in Q5 to a difference */
    int32_t back_shift;      /* -31 .. 0 */
} eq_log_softmax_s8_t;

/* LOG_SOFTMAX: each row of `depth` int8 values to logarithms of probabilities, scale 1/16 and zero
 * point 127. In place: output may be input.
 *
 * Formula: TFLM's reference_ops::LogSoftmaxQuantized.
 */
void eq_log_softmax_s8(const eq_log_softmax_s8_t* p, const int8_t* input, int8_t* output);

typedef struct {
    int32_t rows;
    int32_t depth; /* at most 2^15: a sum of squares is within int32 */
    int32_t input_zero_point;
} eq_l2_normalization_s8_t;

/* L2_NORMALIZATION: each row of `depth` int8 values divided by the root of its sum of squares;
 * scale 1/128 and zero point 0. In place: output may be input.
 *
 * Formula: TFLM's reference_integer_ops::L2Normalization.
 */
void eq_l2_normalization_s8(const eq_l2_normalization_s8_t* p, const int8_t* input, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_NORMALIZE_H_ */
