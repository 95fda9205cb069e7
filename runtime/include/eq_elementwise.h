/* Arithmetic of two activations, element by element, with broadcasting. */
#ifndef EQ_ELEMENTWISE_H_
#define EQ_ELEMENTWISE_H_

#include "eq_broadcast.h"

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

/* ADD. In place: output may be either input that is not broadcast.
 *
 * Formula: TFLM's reference_integer_ops::Add.
 */
void eq_add_s8(const eq_add_t* p, const int8_t* a, const int8_t* b, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_ELEMENTWISE_H_ */
