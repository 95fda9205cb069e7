/* PRELU: a slope of its own for each negative value. */
#ifndef EQ_PRELU_H_
#define EQ_PRELU_H_

#include "eq_broadcast.h"
#include "eq_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    eq_broadcast_t shape; /* a: the input, which is never stretched; b: the slopes */
    int32_t input_zero_point;
    int32_t slope_zero_point;
    int32_t output_zero_point;
    int32_t multiplier;       /* input scale / output scale */
    int32_t shift;            /* -31 .. 30, as below_shift */
    int32_t below_multiplier; /* the same, times the scale of the slopes */
    int32_t below_shift;
} eq_prelu_t;

/* One output before it is limited to its type. */
static inline int32_t eq_prelu(const eq_prelu_t* p, int32_t value, int32_t slope) {
    const int32_t x = value - p->input_zero_point;
    int32_t y;
    if (x >= 0) {
        y = eq_multiply(x, p->multiplier, p->shift);
    } else {
        y = eq_multiply(x * (slope - p->slope_zero_point), p->below_multiplier, p->below_shift);
    }
    return eq_wrapping_add(y, p->output_zero_point);
}

/* PRELU of int8 and of int16 values, with int8 slopes. In place: output may be input.
 *
 * Formula: TFLM's reference_ops::BroadcastPrelu4DSlow.
 */
void eq_prelu_s8(const eq_prelu_t* p, const int8_t* input, const int8_t* slopes, int8_t* output);
void eq_prelu_s16(const eq_prelu_t* p, const int16_t* input, const int8_t* slopes, int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_PRELU_H_ */
