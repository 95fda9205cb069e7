/* From accumulators to outputs, for the operators whose output channels have scales of their own.
 */
#ifndef EQ_CHANNELS_H_
#define EQ_CHANNELS_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Output channels that kernels compute before they hand them over, so that accumulators wait on
 * the stack and scales are walked once.
 */
#define EQ_CHANNEL_BLOCK 16

/* `bias` has the input's zero point folded in: bias - zero_point * (sum of the channel's weights),
 * modulo 2^32. A tap in the padding reads the zero point, which is what leaving it out means.
 * Channel c is scaled by (multipliers[c * step], shifts[c * step]); see eq_requantize.h.
 */
typedef struct {
    const int32_t* bias;
    const int32_t* multipliers;
    const int8_t* shifts;
    uint8_t step;    /* 1, or 0 where all channels have one scale */
    uint8_t is_down; /* whether all shifts are negative, which takes half the time */
    int16_t output_zero_point;
    int16_t output_min; /* a fused activation's limits, within the type's */
    int16_t output_max;
} eq_channels_t;

/* Sets the sums of the block from channel `first` on to its biases; `end` is the channel after the
 * last of all. Returns how many channels the block has.
 */
static inline int32_t eq_channels_begin(const eq_channels_t* p, int32_t first, int32_t end,
                                        uint32_t* sums) {
    const int32_t count = end - first < EQ_CHANNEL_BLOCK ? end - first : EQ_CHANNEL_BLOCK;
    for (int32_t i = 0; i < count; i++) {
        sums[i] = (uint32_t)p->bias[first + i];
    }
    return count;
}

/* The outputs of channels first .. first + count - 1 from their sums, which include the biases. */
void eq_channels_s8(const eq_channels_t* p, int32_t first, int32_t count, const uint32_t* sums,
                    int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_CHANNELS_H_ */
