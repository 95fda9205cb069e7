#include "eq_transpose_conv.h"

void eq_transpose_conv_s16(const eq_transpose_conv_s16_t* p, const int16_t* input, int16_t* scratch,
                           int16_t* output) {
    const eq_transposed_t* shape = &p->shape;
    const int32_t pixels = shape->output_height * shape->output_width;
    const int32_t end = shape->output_channels;
    int64_t sums[EQ_CHANNEL_BLOCK];
    for (int32_t i = 0; i < shape->batches * pixels; i++) {
        const int32_t at = i % pixels;
        const eq_phase_t phase =
            eq_transposed_phase(shape, at / shape->output_width, at % shape->output_width);
        const int8_t* weights = shape->weights + shape->starts[phase.index];
        const int32_t size =
            phase.window.kernel_height * phase.window.kernel_width * shape->input_channels;
        eq_window_gather(&phase.window, input, sizeof *input, phase.y, phase.x, 0,
                         shape->input_channels, scratch);
        for (int32_t channel = 0; channel < end; channel += EQ_CHANNEL_BLOCK) {
            const int32_t count = eq_channels_s16_begin(&p->channels, channel, end, sums);
            eq_dot_s16(scratch, size, weights + channel * size, size, count, sums);
            eq_channels_s16(&p->channels, channel, count, sums, output + channel);
        }
        output += end;
        if (at == pixels - 1) {
            input += shape->input_height * shape->input_width * shape->input_channels;
        }
    }
}
