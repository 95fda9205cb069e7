#include "eq_compiler.h"
#include "eq_conv.h"
#include "eq_taps.h"

#include <string.h>

/* Four channels side by side; `step` from one tap's weights to the next one's. Out of line, where
 * the loop has all registers.
 */
EQ_NOINLINE static void add_four(const eq_taps_t* taps, int32_t channel, const int8_t* weights,
                                 int32_t step, uint32_t* sums) {
    const int8_t** const end = taps->end;
    uint32_t s0 = sums[0];
    uint32_t s1 = sums[1];
    uint32_t s2 = sums[2];
    uint32_t s3 = sums[3];
    for (const int8_t** tap = taps->first; tap != end; tap++) {
        const int8_t* x = *tap + channel;
        s0 += (uint32_t)(x[0] * weights[0]);
        s1 += (uint32_t)(x[1] * weights[1]);
        s2 += (uint32_t)(x[2] * weights[2]);
        s3 += (uint32_t)(x[3] * weights[3]);
        weights += step;
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

EQ_NOINLINE static void add_one(const eq_taps_t* taps, int32_t channel, const int8_t* weights,
                                int32_t step, uint32_t* sum) {
    for (const int8_t** tap = taps->first; tap != taps->end; tap++) {
        *sum += (uint32_t)((*tap)[channel] * *weights);
        weights += step;
    }
}

/* All channels at one place. */
static void outputs(const eq_depthwise_conv_s8_t* p, const eq_taps_t* taps, int8_t* output) {
    const int32_t step = p->window.input_channels * p->multiplier;
    uint32_t sums[EQ_CHANNEL_BLOCK];
    for (int32_t channel = 0; channel < step; channel += EQ_CHANNEL_BLOCK) {
        const int32_t count = eq_channels_begin(&p->channels, channel, step, sums);
        const int8_t* weights = p->weights + channel;
        int32_t i = 0;
        for (; p->multiplier == 1 && i + 4 <= count; i += 4) {
            add_four(taps, channel + i, weights + i, step, sums + i);
        }
        for (; i < count; i++) {
            add_one(taps, (channel + i) / p->multiplier, weights + i, step, sums + i);
        }
        eq_channels_s8(&p->channels, channel, count, sums, output + channel);
    }
}

void eq_depthwise_conv_s8(const eq_depthwise_conv_s8_t* p, const int8_t* input, void* scratch,
                          int8_t* output) {
    const eq_window_t* window = &p->window;
    const int32_t channels = window->input_channels;
    const int8_t** pointers = scratch;
    const eq_taps_t taps = {pointers, pointers + window->kernel_height * window->kernel_width};
    int8_t* padding = (int8_t*)taps.end;
    memset(padding, window->zero_point, (size_t)channels);
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->output_height; y++) {
            for (int32_t x = 0; x < p->output_width; x++) {
                eq_find_taps(window, input, y, x, padding, pointers);
                outputs(p, &taps, output);
                output += channels * p->multiplier;
            }
        }
        input += window->input_height * window->input_width * channels;
    }
}
