/* Functions of int16 activations whose zero points are 0 where nothing else is said. In place:
 * output may be input.
 */
#ifndef EQ_ACTIVATION_S16_H_
#define EQ_ACTIVATION_S16_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t count;
    int32_t input_zero_point;
    int32_t multiplier; /* input scale / output scale; see eq_requantize.h */
    int32_t shift;
    int32_t output_zero_point;
    int32_t output_min; /* within int16 */
    int32_t output_max;
} eq_relu_s16_t;

/* RELU and RELU6: a change of scale, then limits.
 *
 * Formula: TFLM's ReluQuantized; Relu6Quantized is that with the factor 1.
 */
void eq_relu_s16(const eq_relu_s16_t* p, const int16_t* input, int16_t* output);

#define EQ_SIGMOID_SIZE 256

/* x = (value * multiplier + round) >> shift is in steps of 1 / (3 * 4096). 1 <= multiplier <=
 * 32767; round is half of 2^shift, or 0 for shift 0, and shift is 0 .. 31.
 */
typedef struct {
    int32_t count;
    int32_t multiplier;
    int32_t round;
    int32_t shift;
    const int16_t* table; /* [256]: 1 / (1 + exp(-i / 24)) - 1/2, with 16 bits below the point */
} eq_sigmoid_s16_t;

/* LOGISTIC and TANH to int16 of scale 2^-15, with straight lines between the table's entries.
 *
 * Formulas: TFLM's reference_integer_ops::Logistic and Tanh for int16.
 */
void eq_logistic_s16(const eq_sigmoid_s16_t* p, const int16_t* input, int16_t* output);
void eq_tanh_s16(const eq_sigmoid_s16_t* p, const int16_t* input, int16_t* output);

/* x as eq_sigmoid_s16_t has it. */
static inline int32_t eq_sigmoid_input(const eq_sigmoid_s16_t* p, int32_t value) {
    return (value * p->multiplier + p->round) >> p->shift;
}

/* 1 / (1 + exp(-x)) from the table at `x`, of which `bits` lie between two entries: with 16 + bits
 * below the point. `x` is below (EQ_SIGMOID_SIZE - 1) << bits.
 */
static inline int32_t eq_sigmoid(const int16_t* table, int32_t x, int32_t bits) {
    const int16_t* entry = table + (x >> bits);
    const int32_t between = x & (((int32_t)1 << bits) - 1);
    return ((entry[0] + (1 << 15)) << bits) + between * (entry[1] - entry[0]);
}

typedef struct {
    int32_t rows;
    int32_t depth;
    int32_t multiplier; /* input scale * beta / (10 / 65535); see eq_requantize.h */
    int32_t shift;
    const int16_t* exp;        /* [513]: exp(x) for x in -10 .. 0, with 15 bits below the point */
    const int16_t* reciprocal; /* [513]: 1 / (1 + x) for x in 0 .. 1, likewise */
} eq_softmax_s16_t;

/* SOFTMAX: each row of `depth` values to probabilities of scale 2^-15; what is more than 10 below
 * the largest counts as exp(-10).
 *
 * Formula: TFLM's reference_ops::SoftmaxInt16.
 */
void eq_softmax_s16(const eq_softmax_s16_t* p, const int16_t* input, int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_ACTIVATION_S16_H_ */
