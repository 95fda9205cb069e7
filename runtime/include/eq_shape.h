/* Operators that move values and compute none. */
#ifndef EQ_SHAPE_H_
#define EQ_SHAPE_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EQ_PAD_RANK 5

/* The input's sides, the outermost first, and how many elements go before and after each. The
 * build joins a side without padding to the one outside it.
 */
typedef struct {
    int32_t rank; /* 1 .. EQ_PAD_RANK */
    int32_t size[EQ_PAD_RANK];
    int32_t before[EQ_PAD_RANK];
    int32_t after[EQ_PAD_RANK];
    int32_t value; /* what is added, in the output's quantization */
} eq_pad_t;

/* PAD and PADV2 of int8. Formula: TFLM's reference_ops::Pad. */
void eq_pad_s8(const eq_pad_t* p, const int8_t* input, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_SHAPE_H_ */
