/* Arithmetic of two activations, element by element, with broadcasting.
 *
 * _s8 and _s16 compute the same from int8 and from int16 values. In place: output may be either
 * input that is not broadcast.
 */
#ifndef EQ_ARITHMETIC_H_
#define EQ_ARITHMETIC_H_

#include "eq_broadcast.h"
#include "eq_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An input brought to the scale that both are added in. */
typedef struct {
    int32_t zero_point;
    int32_t multiplier;
    int32_t shift; /* <= 0 */
} eq_addend_t;

/* ADD and SUB: both inputs, less their zero points and times 2^left_shift, are brought to twice
 * the larger input scale, added, and brought to the output's.
 */
typedef struct {
    eq_broadcast_t shape;
    int32_t left_shift; /* 20 for int8, 15 for int16: sums stay within 31 bits */
    eq_addend_t a;
    eq_addend_t b;
    int32_t output_multiplier;
    int32_t output_shift; /* <= 0 */
    int32_t output_zero_point;
    int32_t output_min;
    int32_t output_max;
} eq_add_t;

/* `value` less its zero point, times 2^left_shift, in the scale that both inputs are brought to.
 * The difference times 2^left_shift is within int32.
 */
static inline int32_t eq_addend(const eq_addend_t* p, int32_t value, int32_t left_shift) {
    const int32_t shifted = (value - p->zero_point) * ((int32_t)1 << left_shift);
    return eq_multiply(shifted, p->multiplier, p->shift);
}

/* a + b, or a - b, in that scale. */
static inline int32_t eq_addends_sum(const eq_add_t* p, int32_t a, int32_t b) {
    return eq_addend(&p->a, a, p->left_shift) + eq_addend(&p->b, b, p->left_shift);
}

static inline int32_t eq_addends_difference(const eq_add_t* p, int32_t a, int32_t b) {
    return eq_addend(&p->a, a, p->left_shift) - eq_addend(&p->b, b, p->left_shift);
}

/* What comes of both as an output value. */
static inline int32_t eq_addends_output(const eq_add_t* p, int32_t value) {
    return eq_requantize(value, p->output_multiplier, p->output_shift, p->output_zero_point,
                         p->output_min, p->output_max);
}

/* ADD. Formula: TFLM's reference_integer_ops::Add, and reference_ops::AddElementwise for int16. */
void eq_add_s8(const eq_add_t* p, const int8_t* a, const int8_t* b, int8_t* output);
void eq_add_s16(const eq_add_t* p, const int16_t* a, const int16_t* b, int16_t* output);

/* SUB: a - b. Formula: TFLM's reference_ops::Sub for int8, and for int16 the same. */
void eq_sub_s8(const eq_add_t* p, const int8_t* a, const int8_t* b, int8_t* output);
void eq_sub_s16(const eq_add_t* p, const int16_t* a, const int16_t* b, int16_t* output);

/* SQUARED_DIFFERENCE: (a - b)^2. left_shift is 7 for int8 and 0 for int16, so that a square is at
 * most 2^30; output_shift is -31 .. 30, and a shift to the left may wrap.
 *
 * Formula: SquaredDifference of TFLM's squared_difference.cc.
 */
void eq_squared_difference_s8(const eq_add_t* p, const int8_t* a, const int8_t* b, int8_t* output);
void eq_squared_difference_s16(const eq_add_t* p, const int16_t* a, const int16_t* b,
                               int16_t* output);

typedef struct {
    eq_broadcast_t shape;
    int32_t a_zero_point; /* 0 for int16 */
    int32_t b_zero_point;
    int32_t multiplier; /* scale of a * scale of b / output scale */
    int32_t shift;      /* -31 .. 30 */
    int32_t output_zero_point;
    int32_t output_min; /* a fused activation's limits, within the type's */
    int32_t output_max;
} eq_mul_t;

/* MUL: a * b. Formula: TFLM's reference_integer_ops::MulElementwise. */
void eq_mul_s8(const eq_mul_t* p, const int8_t* a, const int8_t* b, int8_t* output);
void eq_mul_s16(const eq_mul_t* p, const int16_t* a, const int16_t* b, int16_t* output);

/* MAXIMUM and MINIMUM of stored values, whatever their scales: MaximumOp and MinimumOp of TFLM's
 * maximum_minimum.h.
 */
void eq_maximum_s8(const eq_broadcast_t* p, const int8_t* a, const int8_t* b, int8_t* output);
void eq_maximum_s16(const eq_broadcast_t* p, const int16_t* a, const int16_t* b, int16_t* output);
void eq_minimum_s8(const eq_broadcast_t* p, const int8_t* a, const int8_t* b, int8_t* output);
void eq_minimum_s16(const eq_broadcast_t* p, const int16_t* a, const int16_t* b, int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_ARITHMETIC_H_ */
