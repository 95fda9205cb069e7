/* Pooling of int8 and int16 activations, NHWC. Input and output have one scale and zero point. */
#ifndef EQ_POOL_H_
#define EQ_POOL_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Output (y, x) covers input rows y * stride_height - pad_top and kernel_height - 1 more, columns
 * likewise; what is outside is left out, and something is always inside.
 */
typedef struct {
    int32_t batches;
    int32_t channels;
    int32_t input_height;
    int32_t input_width;
    int32_t output_height;
    int32_t output_width;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_height;
    int32_t stride_width;
    int32_t pad_top;
    int32_t pad_left;
    int32_t output_min; /* a fused activation's limits, within the type's */
    int32_t output_max;
} eq_pool_t;

/* AVERAGE_POOL_2D: the mean of what is inside, rounded to nearest, halves away from zero. A sum is
 * within int32, so that a kernel has at most 65535 taps of int16.
 *
 * Formula: TFLM's reference_integer_ops::AveragePool.
 */
void eq_average_pool_s8(const eq_pool_t* p, const int8_t* input, int8_t* output);
void eq_average_pool_s16(const eq_pool_t* p, const int16_t* input, int16_t* output);

/* MAX_POOL_2D. Formula: TFLM's reference_integer_ops::MaxPool. */
void eq_max_pool_s8(const eq_pool_t* p, const int8_t* input, int8_t* output);
void eq_max_pool_s16(const eq_pool_t* p, const int16_t* input, int16_t* output);

/* The part of a kernel that is inside the input, along one side: taps first .. end - 1. */
typedef struct {
    int32_t first;
    int32_t end;
} eq_span_t;

static inline eq_span_t eq_pool_span(int32_t origin, int32_t kernel, int32_t size) {
    const eq_span_t span = {
        origin < 0 ? 0 : origin,
        origin + kernel < size ? origin + kernel : size,
    };
    return span;
}

#ifdef __cplusplus
}
#endif

#endif /* EQ_POOL_H_ */
