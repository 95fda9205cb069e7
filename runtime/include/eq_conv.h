/* Convolutions and matrix products of int8 activations and weights.
 *
 * Activations are NHWC, row-major; weights are symmetric, their zero point is 0. Accumulators are
 * 32 bits and wrap, as TFLM's do.
 */
#ifndef EQ_CONV_H_
#define EQ_CONV_H_

#include "eq_channels.h"
#include "eq_window.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    eq_window_t window;
    int32_t batches;
    int32_t output_height;
    int32_t output_width;
    int32_t output_channels;
    int32_t groups;        /* divides input_channels and output_channels */
    const int8_t* weights; /* [output_channels][kernel_height][kernel_width][channels of a group] */
    eq_channels_t channels;
} eq_conv_s8_t;

/* CONV_2D. `scratch` holds what one output sees: kernel_height * kernel_width * channels of a
 * group.
 *
 * Formula: TFLM's reference_integer_ops::ConvPerChannel.
 */
void eq_conv_s8(const eq_conv_s8_t* p, const int8_t* input, int8_t* scratch, int8_t* output);

typedef struct {
    eq_window_t window;
    int32_t batches;
    int32_t output_height;
    int32_t output_width;
    int32_t multiplier;    /* output channels for each input channel */
    const int8_t* weights; /* [kernel_height][kernel_width][input_channels * multiplier] */
    eq_channels_t channels;
} eq_depthwise_conv_s8_t;

/* DEPTHWISE_CONV_2D: output channel c sees input channel c / multiplier alone. `scratch` holds
 * kernel_height * kernel_width pointers and input_channels bytes, aligned for a pointer.
 *
 * Formula: TFLM's reference_integer_ops::DepthwiseConvPerChannel.
 */
void eq_depthwise_conv_s8(const eq_depthwise_conv_s8_t* p, const int8_t* input, void* scratch,
                          int8_t* output);

typedef struct {
    int32_t rows;
    int32_t input_channels;
    int32_t output_channels;
    const int8_t* weights; /* [output_channels][input_channels] */
    eq_channels_t channels;
} eq_fully_connected_s8_t;

/* FULLY_CONNECTED: input [rows][input_channels], output [rows][output_channels].
 *
 * Formula: TFLM's reference_integer_ops::FullyConnected and FullyConnectedPerChannel.
 */
void eq_fully_connected_s8(const eq_fully_connected_s8_t* p, const int8_t* input, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_CONV_H_ */
