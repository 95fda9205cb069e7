#include "eq_conv_dsp.h"
#include "eq_dsp.h"

/* Channels that are repacked at a time, and words of the stream for each. */
#define CHANNELS 4
#define WORDS 5

/* The repacked image of some lines. */
typedef struct {
    uint32_t* first;
    int32_t lines;
    int32_t pairs;    /* in a line */
    uint32_t padding; /* four values */
} plane_t;

/* What four channels have at two neighbours. */
static inline void put(uint32_t a, uint32_t b, uint32_t* to) {
    const uint32_t upper = 0xff00ff00u;
    const uint32_t low = eq_low_lanes(a, b);
    const uint32_t high = eq_high_lanes(a, b);
    to[0] = (low << 8) & upper;
    to[1] = low & upper;
    to[2] = (high << 8) & upper;
    to[3] = high & upper;
}

static void repack_line(const eq_direction_t* along, const plane_t* plane, const int8_t* from,
                        uint32_t* to) {
    const int32_t step = plane->lines * CHANNELS;
    const int32_t input_step = along->input_step;
    const int32_t seen = 2 * plane->pairs - along->padding;
    int32_t count = along->input < seen ? along->input : seen;
    if (along->padding != 0) {
        put(plane->padding, eq_load_bytes(from), to);
        from += input_step;
        to += step;
        count--;
    }
    for (int32_t i = count / 2; i != 0; i--) {
        put(eq_load_bytes(from), eq_load_bytes(from + input_step), to);
        from += 2 * input_step;
        to += step;
    }
    if (count % 2 != 0) {
        put(eq_load_bytes(from), plane->padding, to);
    }
}

/* The lines that are outside stay as they were filled. */
static void repack(const eq_depthwise_conv_3x3_s8_dsp_t* p, const plane_t* plane, int32_t line,
                   const int8_t* input) {
    for (int32_t i = 0; i < plane->lines; i++) {
        if (line + i >= 0 && line + i < p->across.input) {
            repack_line(&p->along, plane, input + (line + i) * p->across.input_step,
                        plane->first + i * CHANNELS);
        }
    }
}

/* `count` lines of outputs of the channels from `channel` on that the plane has from `place` on. */
static void eq_compute_lines(const eq_depthwise_conv_3x3_s8_dsp_t* p, const plane_t* plane,
                             int32_t count, int32_t channel, int32_t place, int8_t* output) {
    const int32_t whole = p->stride == 1 ? p->along.output / 2 : p->along.output;
    const int32_t* packed = p->packed + channel * WORDS;
    eq_lines_t lines;
    lines.output_step = p->along.output_step;
    lines.pair_step = plane->lines * EQ_LINE_BYTES;
    lines.output_line = p->across.output_step;
    lines.count = p->along.output;
    for (; place < CHANNELS; place++) {
        lines.weights = packed;
        lines.bias = lines.bias_again = packed[3];
        lines.multiplier = packed[4];
        lines.line = (const uint8_t*)(plane->first + place);
        lines.end = lines.line + (whole + 1) * lines.pair_step;
        lines.stop = lines.line + count * p->stride * EQ_LINE_BYTES;
        lines.output = output + channel;
        p->run(&lines);
        packed += WORDS;
        channel++;
    }
}

void eq_depthwise_conv_3x3_s8_dsp(const eq_depthwise_conv_3x3_s8_dsp_t* p, const int8_t* input,
                                  void* scratch, int8_t* output) {
    const uint32_t value = (uint8_t)p->zero_point;
    const int32_t left = p->channels % CHANNELS;
    plane_t plane;
    plane.first = scratch;
    plane.padding = value * 0x01010101u;
    plane.pairs = p->stride == 1 ? (p->along.output + 3) / 2 : p->along.output + 1;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->across.output; y += p->lines) {
            const int32_t rest = p->across.output - y;
            const int32_t count = rest < p->lines ? rest : p->lines;
            const int32_t line = y * p->stride - p->across.padding;
            int8_t* to = output + y * p->across.output_step;
            plane.lines = (count - 1) * p->stride + 3;
            for (int32_t i = 0; i < plane.pairs * plane.lines * CHANNELS; i++) {
                plane.first[i] = value << 8 | value << 24;
            }
            if (left != 0) {
                /* Read with what is before them, and first, before that is written. */
                repack(p, &plane, line, input + p->channels - CHANNELS);
                eq_compute_lines(p, &plane, count, p->channels - left, CHANNELS - left, to);
            }
            for (int32_t channel = 0; channel + CHANNELS <= p->channels; channel += CHANNELS) {
                repack(p, &plane, line, input + channel);
                eq_compute_lines(p, &plane, count, channel, 0, to);
            }
        }
        input += p->input_size;
        output += p->output_size;
    }
}
