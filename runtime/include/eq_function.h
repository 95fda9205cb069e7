/* Functions of one int16 value, whose zero points are 0; those of int8 are tables, see
 * eq_activation.h.
 */
#ifndef EQ_FUNCTION_H_
#define EQ_FUNCTION_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Input scale / output scale; for a function that is not linear, what the build says. */
typedef struct {
    int32_t count;
    int32_t multiplier;
    int32_t shift; /* -31 .. 30 */
} eq_scaled_t;

typedef struct {
    int32_t count;
} eq_neg_t;

/* NEG: the stored value negated; -32768 stays. In place: output may be input. Formula: LiteRT's
 * reference_ops::Negate (TFLM has none for integers).
 */
void eq_neg_s16(const eq_neg_t* p, const int16_t* input, int16_t* output);

/* ABS. In place: output may be input. Formula: AbsEvalQuantized of TFLM's elementwise.cc. */
void eq_abs_s16(const eq_scaled_t* p, const int16_t* input, int16_t* output);

/* RSQRT: 1 / sqrt of each value, the largest output for 0 and for what has no root (TFLM fails
 * there). The factor is 1 / (sqrt(input scale) * output scale) with 20 taken from its shift, which
 * is -11 .. 50 before that: (multiplier, shift) is -31 .. 30 again. In place: output may be input.
 *
 * Formula: RsqrtEvalQuantized of TFLM's elementwise.cc.
 */
void eq_rsqrt_s16(const eq_scaled_t* p, const int16_t* input, int16_t* output);

/* A straight line on each side of the zero point. `below` is for negative values: the slope's
 * magnitude, and its sign, 1 or -1.
 */
typedef struct {
    int32_t count;
    int32_t input_zero_point;
    int32_t output_zero_point;
    int32_t multiplier;
    int32_t shift; /* -31 .. 30, as below_shift */
    int32_t below_multiplier;
    int32_t below_shift;
    int32_t below_sign;
} eq_leaky_relu_t;

/* LEAKY_RELU. In place: output may be input. Formula: TFLM's reference_ops::QuantizeLeakyRelu. */
void eq_leaky_relu_s16(const eq_leaky_relu_t* p, const int16_t* input, int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_FUNCTION_H_ */
