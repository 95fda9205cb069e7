/* Products of two computed matrices. */
#ifndef EQ_MATMUL_H_
#define EQ_MATMUL_H_

#include "eq_broadcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element (i, k) of a matrix of the left input is at i * a_row + k * a_step, element (k, j) of one
 * of the right input at j * b_column + k * b_step: the steps say which of them is transposed.
 */
typedef struct {
    eq_broadcast_t shape; /* of the sides before the matrices; its steps count matrices */
    int32_t rows;
    int32_t columns;
    int32_t depth; /* for int16 at most 2^16, so that sums stay below 2^47 */
    int32_t a_row;
    int32_t a_step;
    int32_t b_column;
    int32_t b_step;
    int32_t a_zero_point; /* 0 for int16, as the other two */
    int32_t b_zero_point;
    int32_t multiplier; /* for int16 rounded to 15 bits, see eq_multiply_s64 */
    int32_t shift;      /* -31 .. 30, for int16 -31 .. 7 */
    int32_t output_zero_point;
} eq_batch_matmul_t;

/* BATCH_MATMUL: output [..][rows][columns]. Sums of int8 wrap at 32 bits.
 *
 * Formula: TFLM's reference_ops::BatchMatMul.
 */
void eq_batch_matmul_s8(const eq_batch_matmul_t* p, const int8_t* a, const int8_t* b,
                        int8_t* output);
void eq_batch_matmul_s16(const eq_batch_matmul_t* p, const int16_t* a, const int16_t* b,
                         int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_MATMUL_H_ */
