/* Blocks of two output channels at two pixels, of the kernels for cores with the DSP extension.
 *
 * The activations of two pixels wait side by side as lanes of 16 bits, and a stream of words, made
 * by the build (edgeq/codegen/aot/blocks_dsp.py), brings for each two channels all that they need
 * in the order in which it is used: sixteen values, and what each loads, stay in registers.
 */
#ifndef EQ_BLOCKS_H_
#define EQ_BLOCKS_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The shift that is fastest. */
#define EQ_BLOCKS_SHIFT 12

/* For each two channels a and b, of which the last b of an odd number is nothing:
 *
 *     256 * the bias of a
 *     for each four values the weights (0, 2) and (1, 3), lanes of 256 * a + b as in eq_conv_dsp.h
 *     the bias of b: times 256, or times 2 where `is_exact`
 *     the multipliers of a and b
 *     where `is_exact`, 2^32 divided by what a and b are scaled down by
 *
 * Biases have zero points folded in. From 256 times a sum to the output: eq_line_s8, or eq_exact_s8
 * where `is_exact`.
 */
typedef struct {
    const int32_t* packed;
    int32_t channels;
    int32_t fours; /* four values each */
    int16_t shift; /* or the zero point of the output, where `is_exact` */
    int16_t is_exact;
} eq_blocks_t;

/* The same for eq_pixel_s8_dsp. */
typedef struct {
    eq_blocks_t blocks;
    int32_t multiplier;
    int32_t scale;
} eq_pixel_t;

/* A number of channel pairs, packed .. end, and the values of one or two pixels, made once for a
 * layer. The order is that of the assembly, which has copies on its stack.
 */
typedef struct {
    int8_t* output; /* where the next outputs go; set for each run, as step */
    const int32_t* end;
    int32_t step;
    int32_t amount; /* eq_blocks_t's shift */
    const uint32_t* values;
    const uint32_t* values_end;
    uintptr_t enter; /* where the assembly's loop begins, and where it does after a single four */
    uintptr_t enter_eights;
    const int32_t* packed;
    /* 0 for eq_line_s8 with a shift of EQ_BLOCKS_SHIFT, 2^30 for any other shift, 2^31 for
     * eq_exact_s8: twice that sets the flags V and C.
     */
    uint32_t form;
    int32_t multiplier; /* of all channels, for eq_pixel_s8_dsp, as the scale */
    int32_t scale;
} eq_blocks_run_t;

/* All channels: the whole pairs, and the last channel of an odd number. */
typedef struct {
    eq_blocks_run_t pairs;
    eq_blocks_run_t last;
    int32_t channels;
} eq_blocks_layer_t;

/* Both runs of `size` words a pair, with `words` words of values for each four, but where the
 * assembly enters.
 */
static inline void eq_blocks_set(eq_blocks_layer_t* layer, const eq_blocks_t* p, int32_t size,
                                 const uint32_t* values, int32_t words) {
    eq_blocks_run_t* run = &layer->pairs;
    run->amount = p->shift;
    run->values = values;
    run->values_end = values + words * p->fours;
    run->packed = p->packed;
    run->end = p->packed + p->channels / 2 * size;
    run->form = p->is_exact                   ? (uint32_t)1 << 31
                : p->shift == EQ_BLOCKS_SHIFT ? 0
                                              : (uint32_t)1 << 30;
    layer->channels = p->channels;
}

/* What is left of it, when the rest is set: the last pair. */
static inline void eq_blocks_set_last(eq_blocks_layer_t* layer, int32_t size) {
    layer->last = layer->pairs;
    layer->last.packed = layer->pairs.end;
    layer->last.end = layer->last.packed + size;
}

void eq_blocks_begin(eq_blocks_layer_t* layer, const eq_blocks_t* p, const uint32_t* values);

/* The outputs of all channels at two pixels, `step` bytes apart; 0 bytes for one that is there
 * twice. `values` of the layer has for each four the lanes (0, 2) of the first and of the second
 * pixel, then (1, 3) of both.
 */
void eq_blocks_s8_dsp(const eq_blocks_layer_t* layer, int8_t* output, int32_t step);

/* The same of one pixel, where all channels have one scale, which the stream is without: `values`
 * has the lanes (0, 2) and (1, 3) of each four.
 */
void eq_pixel_begin(eq_blocks_layer_t* layer, const eq_pixel_t* p, const uint32_t* values);
void eq_pixel_s8_dsp(const eq_blocks_layer_t* layer, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_BLOCKS_H_ */
