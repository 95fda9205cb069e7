/* Where along a side the greatest or the least value is. */
#ifndef EQ_ARG_H_
#define EQ_ARG_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Input [outer][size][inner], output [outer][inner]. */
typedef struct {
    int32_t outer;
    int32_t size;
    int32_t inner;
    int32_t flip; /* 0 for the greatest; -1 for the least: all bits turned, the order is too */
} eq_arg_t;

/* ARG_MAX and ARG_MIN; of equal values, the first. Formula: TFLM's reference_ops::ArgMinMax. */
void eq_arg_s8(const eq_arg_t* p, const int8_t* input, int32_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_ARG_H_ */
