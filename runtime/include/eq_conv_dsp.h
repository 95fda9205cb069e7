/* The kernels of eq_conv.h for cores with the DSP extension, and what they have in common.
 *
 * They take the same activations and give the same bytes. The weights have the order that these
 * cores want, which the build makes (edgeq/codegen/aot/dsp.py), and all scales are below a half
 * (is_down of eq_channels_t). The layers that this does not hold for run the portable kernels.
 */
#ifndef EQ_CONV_DSP_H_
#define EQ_CONV_DSP_H_

#include "eq_blocks.h"
#include "eq_channels.h"
#include "eq_lines.h"
#include "eq_window.h"

#ifdef __cplusplus
extern "C" {
#endif

/* eq_channels_s8 for scales below a half. */
void eq_channels_s8_dsp(const eq_channels_t* p, int32_t first, int32_t count, const uint32_t* sums,
                        int8_t* output);

/* How many channels of the block from `first` on there are before `end`. */
static inline int32_t eq_block_count(int32_t first, int32_t end) {
    return end - first < EQ_CHANNEL_BLOCK ? end - first : EQ_CHANNEL_BLOCK;
}

/* sums[i] = bias[i] + the products of `values` and row i, modulo 2^32: 4 * `steps` values, `rows`
 * rows, each at least 1.
 *
 * Two rows a and b share lanes of 16 bits: 256 * a + b. The sum of their products is 256 * A + B,
 * and that of the low bytes, which are b, is B. A is exact as long as 256 * A is within 32 bits:
 * the magnitudes of a row add up to less than 2^16. No a is -128 where b is negative, so that the
 * lane is within 16 bits. Per step, for values 0 .. 3 and rows of `weights`:
 *
 *     four rows   (0, 2) and (1, 3) of rows 0 and 1, then of rows 2 and 3: four words
 *     two rows    (0, 2) and (1, 3): two words
 *     one row     the four bytes: one word
 *
 * First come all steps of rows 0 .. 3, then of 4 .. 7, and in the end those of a pair and of a
 * single row that are left: `steps` words for each row.
 */
void eq_dot_s8_dsp(const int8_t* values, int32_t steps, const int32_t* weights, int32_t rows,
                   const int32_t* bias, uint32_t* sums);

/* The steps for `count` values. */
static inline int32_t eq_dot_steps(int32_t count) {
    return (count + 3) / 4;
}

typedef struct {
    eq_window_t window;
    int32_t batches;
    int32_t output_height;
    int32_t output_width;
    int32_t output_channels;
    int32_t groups;         /* divides input_channels and output_channels */
    const int32_t* weights; /* of each group as eq_dot_s8_dsp wants them, zeros up to a step */
    eq_channels_t channels;
} eq_conv_s8_dsp_t;

/* CONV_2D. `scratch` holds what one output sees, kernel_height * kernel_width * channels of a
 * group, up to a multiple of 4 bytes.
 */
void eq_conv_s8_dsp(const eq_conv_s8_dsp_t* p, const int8_t* input, int8_t* scratch,
                    int8_t* output);

typedef struct {
    eq_window_t window; /* of dilation_width 1 */
    int32_t batches;
    int32_t output_height;
    int32_t output_width;
    int32_t row;       /* bytes of a padded row of the image, or 0 where it is read where it lies */
    int32_t rows;      /* that are kept */
    int32_t row_fours; /* values of one row of the kernel, in fours */
    int32_t has_rest;  /* whether each has one more, which together are the last four */
    eq_blocks_t blocks;
} eq_conv_blocks_s8_dsp_t;

/* CONV_2D of one group, two pixels at a time. `scratch`, aligned to 4, holds the values of both,
 * 16 bytes for each of blocks.fours, and `rows` * `row` bytes: a ring of rows of the image with its
 * padding, each read once. It has all that an output sees, and where the output's width is odd,
 * what the first one of the next row sees.
 */
void eq_conv_blocks_s8_dsp(const eq_conv_blocks_s8_dsp_t* p, const int8_t* input, void* scratch,
                           int8_t* output);

typedef struct {
    int32_t rows;
    int32_t input_channels;
    int32_t output_channels;
    const int32_t* weights; /* as eq_dot_s8_dsp wants them, zeros up to a step */
    eq_channels_t channels;
} eq_fully_connected_s8_dsp_t;

/* FULLY_CONNECTED. `scratch` holds input_channels up to a multiple of 4 bytes, and is not used
 * where they are one.
 */
void eq_fully_connected_s8_dsp(const eq_fully_connected_s8_dsp_t* p, const int8_t* input,
                               int8_t* scratch, int8_t* output);

typedef struct {
    int32_t rows;
    int32_t input_channels;
    eq_pixel_t pixel;
} eq_fully_connected_blocks_s8_dsp_t;

/* FULLY_CONNECTED with one scale, two channels at a time. `scratch`, aligned to 4, holds a row of
 * the input, 8 bytes for each of the fours. In place: output may be input, of one row.
 */
void eq_fully_connected_blocks_s8_dsp(const eq_fully_connected_blocks_s8_dsp_t* p,
                                      const int8_t* input, void* scratch, int8_t* output);

/* A direction over the image: `input` pixels, `input_step` bytes apart, of which the first output
 * sees the first `padding` outside; `output` outputs, `output_step` bytes apart.
 */
typedef struct {
    int32_t input;
    int32_t output;
    int32_t padding; /* 0 or 1 */
    int32_t input_step;
    int32_t output_step;
} eq_direction_t;

typedef struct {
    eq_direction_t along;  /* the lines of eq_lines.h */
    eq_direction_t across; /* them */
    int32_t batches;
    int32_t channels;   /* at least 4 */
    int32_t input_size; /* bytes of an image */
    int32_t output_size;
    int32_t stride;
    int32_t lines; /* of outputs that are computed at a time */
    int32_t zero_point;
    eq_lines_fn* run;
    const int32_t* packed; /* of each channel: three words of weights, bias, multiplier */
} eq_depthwise_conv_3x3_s8_dsp_t;

/* DEPTHWISE_CONV_2D with kernels of 3x3, strides of 1 or 2, no dilation and one output channel for
 * each input channel. `scratch`, aligned to 4, holds the repacked image of four channels: for two
 * neighbours in all lines that `lines` of outputs see, 16 bytes each. Four channels at `lines`
 * lines of outputs are written when they were read, and no others.
 */
void eq_depthwise_conv_3x3_s8_dsp(const eq_depthwise_conv_3x3_s8_dsp_t* p, const int8_t* input,
                                  void* scratch, int8_t* output);

typedef struct {
    eq_window_t window;
    int32_t batches;
    int32_t output_height;
    int32_t output_width;
    /* Of two taps a and b, the last b of an odd number with zeros, and four channels:
     * (a0, a1, b0, b1) and (a2, a3, b2, b3). First come all taps of channels 0 .. 3, then of 4 ..
     * 7; of each channel that is left the taps one by one.
     */
    const int32_t* weights;
    eq_channels_t channels;
} eq_depthwise_conv_s8_dsp_t;

/* DEPTHWISE_CONV_2D with one output channel for each input channel. `scratch` holds a pointer for
 * each tap, of an even number, and input_channels bytes, aligned for a pointer.
 */
void eq_depthwise_conv_s8_dsp(const eq_depthwise_conv_s8_dsp_t* p, const int8_t* input,
                              void* scratch, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_CONV_DSP_H_ */
