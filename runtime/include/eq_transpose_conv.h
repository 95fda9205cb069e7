/* TRANSPOSE_CONV: output (y, x) is reached by the taps i of the kernel for which y + pad_top - i is
 * a multiple of the stride, and columns likewise.
 *
 * Outputs whose y + pad_top and x + pad_left leave the same remainders see the same taps: a phase.
 * Each phase is a convolution of stride 1, whose taps the build has put in the order of the input.
 */
#ifndef EQ_TRANSPOSE_CONV_H_
#define EQ_TRANSPOSE_CONV_H_

#include "eq_conv.h"
#include "eq_conv_s16.h"
#include "eq_window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Activations are NHWC, row-major. */
typedef struct {
    int32_t batches;
    int32_t input_height;
    int32_t input_width;
    int32_t input_channels;
    int32_t output_height;
    int32_t output_width;
    int32_t output_channels;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_height;
    int32_t stride_width;
    int32_t pad_top;
    int32_t pad_left;
    int32_t zero_point;    /* of the input */
    const int8_t* weights; /* for each phase [output_channels][rows][columns][input_channels] */
    const int32_t* starts; /* where the weights of each phase begin */
} eq_transposed_t;

/* What the output at one place sees: `window` at (y, x) of the input, with the weights of phase
 * `index`, which may have no taps at all.
 */
typedef struct {
    eq_window_t window;
    int32_t y;
    int32_t x;
    int32_t index;
} eq_phase_t;

static inline eq_phase_t eq_transposed_phase(const eq_transposed_t* p, int32_t y, int32_t x) {
    const int32_t row = (y + p->pad_top) % p->stride_height;
    const int32_t column = (x + p->pad_left) % p->stride_width;
    const int32_t rows = (p->kernel_height - row + p->stride_height - 1) / p->stride_height;
    const int32_t columns = (p->kernel_width - column + p->stride_width - 1) / p->stride_width;
    eq_phase_t phase;
    phase.y = (y + p->pad_top) / p->stride_height;
    phase.x = (x + p->pad_left) / p->stride_width;
    phase.index = row * p->stride_width + column;
    phase.window.input_height = p->input_height;
    phase.window.input_width = p->input_width;
    phase.window.input_channels = p->input_channels;
    phase.window.kernel_height = rows > 0 ? rows : 0;
    phase.window.kernel_width = columns > 0 ? columns : 0;
    phase.window.stride_height = 1;
    phase.window.stride_width = 1;
    phase.window.dilation_height = 1;
    phase.window.dilation_width = 1;
    phase.window.pad_top = rows - 1;
    phase.window.pad_left = columns - 1;
    phase.window.zero_point = p->zero_point;
    return phase;
}

/* `channels.bias` is that of phase 0: those of the phases follow each other, since each has the
 * zero point folded in for its own taps.
 */
typedef struct {
    eq_transposed_t shape;
    eq_channels_t channels;
} eq_transpose_conv_s8_t;

/* `scratch` holds what one output sees: the most taps of a phase * input_channels.
 *
 * Formula: TFLM's reference_integer_ops::TransposeConv.
 */
void eq_transpose_conv_s8(const eq_transpose_conv_s8_t* p, const int8_t* input, int8_t* scratch,
                          int8_t* output);

typedef struct {
    eq_transposed_t shape;
    eq_channels_s16_t channels;
} eq_transpose_conv_s16_t;

/* The same for int16 activations, with exact sums (see eq_conv_s16.h). */
void eq_transpose_conv_s16(const eq_transpose_conv_s16_t* p, const int16_t* input, int16_t* scratch,
                           int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_TRANSPOSE_CONV_H_ */
