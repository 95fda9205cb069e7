#include "eq_conv_s16.h"

void eq_fully_connected_s16(const eq_fully_connected_s16_t* p, const int16_t* input,
                            int16_t* output) {
    const int32_t size = p->input_channels;
    int64_t sums[EQ_CHANNEL_BLOCK];
    for (int32_t row = 0; row < p->rows; row++) {
        for (int32_t channel = 0; channel < p->output_channels; channel += EQ_CHANNEL_BLOCK) {
            const int32_t count =
                eq_channels_s16_begin(&p->channels, channel, p->output_channels, sums);
            eq_dot_s16(input, size, p->weights + channel * size, size, count, sums);
            eq_channels_s16(&p->channels, channel, count, sums, output + channel);
        }
        input += size;
        output += p->output_channels;
    }
}
