#include "eq_conv.h"
#include "eq_dot.h"

void eq_fully_connected_s8(const eq_fully_connected_s8_t* p, const int8_t* input, int8_t* output) {
    const int32_t size = p->input_channels;
    uint32_t sums[EQ_CHANNEL_BLOCK];
    for (int32_t row = 0; row < p->rows; row++) {
        for (int32_t channel = 0; channel < p->output_channels; channel += EQ_CHANNEL_BLOCK) {
            const int32_t count =
                eq_channels_begin(&p->channels, channel, p->output_channels, sums);
            eq_dot_s8(input, size, p->weights + channel * size, size, count, sums);
            eq_channels_s8(&p->channels, channel, count, sums, output + channel);
        }
        input += size;
        output += p->output_channels;
    }
}
