/* SOFTMAX. */
#ifndef EQ_SOFTMAX_H_
#define EQ_SOFTMAX_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t rows;
    int32_t depth;
    int32_t exp_count; /* 1 .. 256; what is further below the maximum counts as 0 */
    const int32_t*
        exp_q31; /* exp(-i * scale * beta) with 31 bits below the point, from the build */
} eq_softmax_s8_t;

/* Each row of `depth` int8 values to probabilities, scale 1/256 and zero point -128, or scale
 * 1/65536 and zero point -32768.
 *
 * In place: output may be input; eq_softmax_s8_s16 may write over its input when the output begins
 * at least rows * depth - 1 bytes before. Formula: TFLM's reference_ops::Softmax; exp_q31[i] is its
 * exp_on_negative_values of the scaled difference -i.
 */
void eq_softmax_s8(const eq_softmax_s8_t* p, const int8_t* input, int8_t* output);
void eq_softmax_s8_s16(const eq_softmax_s8_t* p, const int8_t* input, int16_t* output);

/* One row: its largest value, and what all exponentials are multiplied by: scale / 2^exponent. */
typedef struct {
    int32_t largest;
    int32_t scale; /* in Q0 */
    int32_t exponent;
} eq_softmax_row_t;

eq_softmax_row_t eq_softmax_row(const eq_softmax_s8_t* p, const int8_t* input);

#ifdef __cplusplus
}
#endif

#endif /* EQ_SOFTMAX_H_ */
