#include "eq_compiler.h"
#include "eq_conv_dsp.h"
#include "eq_dsp.h"
#include "eq_taps.h"

#include <string.h>

/* Four channels side by side, two taps at a time. Out of line, where the loop has all registers.
 * Returns where the weights of the next ones begin.
 */
EQ_NOINLINE static const int32_t* add_four(const eq_taps_t* taps, int32_t channel,
                                           const int32_t* weights, const int32_t* bias,
                                           uint32_t* sums) {
    const int8_t** const end = taps->end;
    const int8_t** tap = taps->first;
    uint32_t s0 = (uint32_t)bias[0];
    uint32_t s1 = (uint32_t)bias[1];
    uint32_t s2 = (uint32_t)bias[2];
    uint32_t s3 = (uint32_t)bias[3];
    do {
        const uint32_t a = eq_load_bytes(tap[0] + channel);
        const uint32_t b = eq_load_bytes(tap[1] + channel);
        uint32_t w01;
        uint32_t w23;
        eq_load_pair(&weights, &w01, &w23);
        const uint32_t x01 = eq_low_lanes(a, b);
        s0 = eq_add_products(s0, eq_even_bytes(x01), eq_even_bytes(w01));
        s1 = eq_add_products(s1, eq_odd_bytes(x01), eq_odd_bytes(w01));
        const uint32_t x23 = eq_high_lanes(a, b);
        s2 = eq_add_products(s2, eq_even_bytes(x23), eq_even_bytes(w23));
        s3 = eq_add_products(s3, eq_odd_bytes(x23), eq_odd_bytes(w23));
        tap += 2;
    } while (tap != end);
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
    return weights;
}

/* One channel; returns the weights of the next one. */
static const int8_t* add_one(const eq_taps_t* taps, int32_t channel, const int8_t* weights,
                             uint32_t* sum) {
    for (const int8_t** tap = taps->first; tap != taps->end; tap++) {
        *sum += (uint32_t)((*tap)[channel] * *weights++);
    }
    return weights;
}

/* All channels at one place. */
static void outputs(const eq_depthwise_conv_s8_dsp_t* p, const eq_taps_t* taps, int8_t* output) {
    const int32_t end = p->window.input_channels;
    const int32_t* fours = p->weights;
    uint32_t sums[EQ_CHANNEL_BLOCK];
    for (int32_t channel = 0; channel < end; channel += EQ_CHANNEL_BLOCK) {
        const int32_t count = eq_block_count(channel, end);
        const int32_t* bias = p->channels.bias + channel;
        int32_t i = 0;
        for (; i + 4 <= count; i += 4) {
            fours = add_four(taps, channel + i, fours, bias + i, sums + i);
        }
        const int8_t* ones = (const int8_t*)fours; /* only behind the last four */
        for (; i < count; i++) {
            sums[i] = (uint32_t)bias[i];
            ones = add_one(taps, channel + i, ones, sums + i);
        }
        eq_channels_s8_dsp(&p->channels, channel, count, sums, output + channel);
    }
}

void eq_depthwise_conv_s8_dsp(const eq_depthwise_conv_s8_dsp_t* p, const int8_t* input,
                              void* scratch, int8_t* output) {
    const eq_window_t* window = &p->window;
    const int32_t channels = window->input_channels;
    const int32_t count = window->kernel_height * window->kernel_width;
    const int8_t** pointers = scratch;
    const eq_taps_t taps = {pointers, pointers + count + count % 2};
    int8_t* padding = (int8_t*)taps.end;
    memset(padding, window->zero_point, (size_t)channels);
    taps.end[-1] = padding; /* stays, with weights of 0, where the number is odd */
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->output_height; y++) {
            for (int32_t x = 0; x < p->output_width; x++) {
                eq_find_taps(window, input, y, x, padding, pointers);
                outputs(p, &taps, output);
                output += channels;
            }
        }
        input += window->input_height * window->input_width * channels;
    }
}
