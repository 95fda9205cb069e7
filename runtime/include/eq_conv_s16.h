/* Convolutions and matrix products of int16 activations and int8 weights: TFLite's int16x8.
 *
 * Activations are NHWC, row-major; all zero points are 0. A sum is exact in 64 bits: the build
 * makes sure that it stays within -2^47 .. 2^47 - 1.
 */
#ifndef EQ_CONV_S16_H_
#define EQ_CONV_S16_H_

#include "eq_channels.h"
#include "eq_window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* From sums to outputs. Channel c is scaled by (multipliers[c * step], shifts[c * step]).
 *
 * With a bias of int64, TFLM scales the sum itself: eq_multiply_s64, with multipliers rounded to
 * 15 bits and shifts -31 .. 7. With one of int32 its sum wraps at 32 bits, and is scaled by
 * eq_multiply, with shifts -31 .. 30 (is_narrow).
 */
typedef struct {
    const int64_t* bias;
    const int32_t* multipliers;
    const int8_t* shifts;
    int32_t step; /* 1, or 0 where all channels have one scale */
    int32_t is_narrow;
    int32_t output_min; /* a fused activation's limits, within the type's */
    int32_t output_max;
} eq_channels_s16_t;

/* Sets the sums of the block from channel `first` on to its biases; `end` is the channel after the
 * last of all. Returns how many channels the block has, EQ_CHANNEL_BLOCK at most.
 */
static inline int32_t eq_channels_s16_begin(const eq_channels_s16_t* p, int32_t first, int32_t end,
                                            int64_t* sums) {
    const int32_t count = end - first < EQ_CHANNEL_BLOCK ? end - first : EQ_CHANNEL_BLOCK;
    for (int32_t i = 0; i < count; i++) {
        sums[i] = p->bias[first + i];
    }
    return count;
}

/* The outputs of channels first .. first + count - 1 from their sums, which include the biases. */
void eq_channels_s16(const eq_channels_s16_t* p, int32_t first, int32_t count, const int64_t* sums,
                     int16_t* output);

/* sums[i] += the products of `values` and row i: `count` values, `rows` rows that are `step`
 * weights apart.
 */
void eq_dot_s16(const int16_t* values, int32_t count, const int8_t* weights, int32_t step,
                int32_t rows, int64_t* sums);

typedef struct {
    eq_window_t window;
    int32_t batches;
    int32_t output_height;
    int32_t output_width;
    int32_t output_channels;
    int32_t groups;        /* divides input_channels and output_channels */
    const int8_t* weights; /* [output_channels][kernel_height][kernel_width][channels of a group] */
    eq_channels_s16_t channels;
} eq_conv_s16_t;

/* CONV_2D. `scratch` holds what one output sees: kernel_height * kernel_width * channels of a
 * group.
 *
 * Formula: TFLM's reference_integer_ops::ConvPerChannel for int16.
 */
void eq_conv_s16(const eq_conv_s16_t* p, const int16_t* input, int16_t* scratch, int16_t* output);

typedef struct {
    eq_window_t window;
    int32_t batches;
    int32_t output_height;
    int32_t output_width;
    int32_t multiplier;    /* output channels for each input channel */
    const int8_t* weights; /* [kernel_height][kernel_width][input_channels * multiplier] */
    eq_channels_s16_t channels;
} eq_depthwise_conv_s16_t;

/* DEPTHWISE_CONV_2D: output channel c sees input channel c / multiplier alone. `scratch` holds
 * kernel_height * kernel_width * input_channels values.
 *
 * Formula: TFLM's reference_integer_ops::DepthwiseConvPerChannel for int16.
 */
void eq_depthwise_conv_s16(const eq_depthwise_conv_s16_t* p, const int16_t* input, int16_t* scratch,
                           int16_t* output);

typedef struct {
    int32_t rows;
    int32_t input_channels;
    int32_t output_channels;
    const int8_t* weights; /* [output_channels][input_channels] */
    eq_channels_s16_t channels;
} eq_fully_connected_s16_t;

/* FULLY_CONNECTED: input [rows][input_channels], output [rows][output_channels].
 *
 * Formula: TFLM's reference_integer_ops::FullyConnected and FullyConnectedPerChannel.
 */
void eq_fully_connected_s16(const eq_fully_connected_s16_t* p, const int16_t* input,
                            int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_CONV_S16_H_ */
