#include "eq_dot.h"
#include "eq_transpose_conv.h"

void eq_transpose_conv_s8(const eq_transpose_conv_s8_t* p, const int8_t* input, int8_t* scratch,
                          int8_t* output) {
    const eq_transposed_t* shape = &p->shape;
    const int32_t pixels = shape->output_height * shape->output_width;
    const int32_t end = shape->output_channels;
    uint32_t sums[EQ_CHANNEL_BLOCK];
    for (int32_t i = 0; i < shape->batches * pixels; i++) {
        const int32_t at = i % pixels;
        const eq_phase_t phase =
            eq_transposed_phase(shape, at / shape->output_width, at % shape->output_width);
        const int8_t* weights = shape->weights + shape->starts[phase.index];
        const int32_t size =
            phase.window.kernel_height * phase.window.kernel_width * shape->input_channels;
        eq_channels_t channels = p->channels;
        channels.bias += phase.index * end;
        eq_window_gather(&phase.window, input, 1, phase.y, phase.x, 0, shape->input_channels,
                         scratch);
        for (int32_t channel = 0; channel < end; channel += EQ_CHANNEL_BLOCK) {
            const int32_t count = eq_channels_begin(&channels, channel, end, sums);
            eq_dot_s8(scratch, size, weights + channel * size, size, count, sums);
            eq_channels_s8(&channels, channel, count, sums, output + channel);
        }
        output += end;
        if (at == pixels - 1) {
            input += shape->input_height * shape->input_width * shape->input_channels;
        }
    }
}
