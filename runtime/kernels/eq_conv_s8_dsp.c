#include "eq_conv_dsp.h"

/* The outputs of channels channel .. end - 1 at one place. */
static void outputs(const eq_conv_s8_dsp_t* p, const int8_t* values, int32_t steps, int32_t channel,
                    int32_t end, int8_t* output) {
    uint32_t sums[EQ_CHANNEL_BLOCK];
    for (; channel < end; channel += EQ_CHANNEL_BLOCK) {
        const int32_t count = eq_block_count(channel, end);
        eq_dot_s8_dsp(values, steps, p->weights + channel * steps, count,
                      p->channels.bias + channel, sums);
        eq_channels_s8_dsp(&p->channels, channel, count, sums, output + channel);
    }
}

void eq_conv_s8_dsp(const eq_conv_s8_dsp_t* p, const int8_t* input, int8_t* scratch,
                    int8_t* output) {
    const eq_window_t* window = &p->window;
    const int32_t depth = window->input_channels / p->groups;
    const int32_t size = window->kernel_height * window->kernel_width * depth;
    const int32_t channels = p->output_channels / p->groups;
    /* One row of the kernel lies in the input as it is wanted. */
    const int is_run = window->kernel_height == 1 && p->groups == 1 && size % 4 == 0 &&
                       (window->kernel_width == 1 || window->dilation_width == 1);
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->output_height; y++) {
            for (int32_t x = 0; x < p->output_width; x++) {
                const int8_t* values = scratch;
                const int is_there = is_run && eq_window_is_inside(window, y, x);
                if (is_there) {
                    const int32_t row = eq_window_top(window, y) * window->input_width;
                    values = input + (row + eq_window_left(window, x)) * depth;
                }
                for (int32_t group = 0; group < p->groups; group++) {
                    if (!is_there) {
                        eq_window_gather(window, input, 1, y, x, group * depth, depth, scratch);
                    }
                    outputs(p, values, eq_dot_steps(size), group * channels, (group + 1) * channels,
                            output);
                }
                output += p->output_channels;
            }
        }
        input += window->input_height * window->input_width * window->input_channels;
    }
}
