#include "eq_conv_dsp.h"

#include <string.h>

void eq_fully_connected_s8_dsp(const eq_fully_connected_s8_dsp_t* p, const int8_t* input,
                               int8_t* scratch, int8_t* output) {
    const int32_t size = p->input_channels;
    const int32_t steps = eq_dot_steps(size);
    const int32_t end = p->output_channels;
    uint32_t sums[EQ_CHANNEL_BLOCK];
    for (int32_t row = 0; row < p->rows; row++) {
        const int8_t* values = input;
        if (size % 4 != 0) {
            memcpy(scratch, input, (size_t)size);
            values = scratch;
        }
        for (int32_t channel = 0; channel < end; channel += EQ_CHANNEL_BLOCK) {
            const int32_t count = eq_block_count(channel, end);
            eq_dot_s8_dsp(values, steps, p->weights + channel * steps, count,
                          p->channels.bias + channel, sums);
            eq_channels_s8_dsp(&p->channels, channel, count, sums, output + channel);
        }
        input += size;
        output += end;
    }
}
