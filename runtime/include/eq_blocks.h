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

/* The outputs of all channels at two pixels, `step` bytes apart; 0 bytes for one that is there
 * twice. `values` has for each four the lanes (0, 2) of the first and of the second pixel, then
 * (1, 3) of both.
 */
void eq_blocks_s8_dsp(const eq_blocks_t* p, const uint32_t* values, int8_t* output, int32_t step);

#ifdef __cplusplus
}
#endif

#endif /* EQ_BLOCKS_H_ */
