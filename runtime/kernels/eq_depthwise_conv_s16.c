#include "eq_conv_s16.h"

/* What one output sees: the channels of each tap side by side, taps and rows of taps so many
 * values apart.
 */
typedef struct {
    const int16_t* values;
    int32_t tap;
    int32_t row;
} view_t;

/* The input itself where all taps are inside, else a copy in `scratch`. */
static view_t look(const eq_window_t* window, const int16_t* image, int32_t y, int32_t x,
                   int16_t* scratch) {
    const int32_t channels = window->input_channels;
    view_t view = {scratch, channels, window->kernel_width * channels};
    if (eq_window_is_inside(window, y, x)) {
        const int32_t row = window->input_width * channels;
        view.values = image + eq_window_top(window, y) * row + eq_window_left(window, x) * channels;
        view.tap = window->dilation_width * channels;
        view.row = window->dilation_height * row;
    } else {
        eq_window_gather(window, image, sizeof *image, y, x, 0, channels, scratch);
    }
    return view;
}

/* The sum of one channel; `step` from one tap's weight to the next one's. */
static int64_t add(const eq_window_t* window, const view_t* view, int32_t channel,
                   const int8_t* weights, int32_t step, int64_t sum) {
    const int16_t* row = view->values + channel;
    for (int32_t i = 0; i < window->kernel_height; i++) {
        const int16_t* tap = row;
        for (int32_t j = 0; j < window->kernel_width; j++) {
            sum += *tap * *weights;
            tap += view->tap;
            weights += step;
        }
        row += view->row;
    }
    return sum;
}

void eq_depthwise_conv_s16(const eq_depthwise_conv_s16_t* p, const int16_t* input, int16_t* scratch,
                           int16_t* output) {
    const eq_window_t* window = &p->window;
    const int32_t channels = window->input_channels * p->multiplier;
    int64_t sums[EQ_CHANNEL_BLOCK];
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->output_height; y++) {
            for (int32_t x = 0; x < p->output_width; x++) {
                const view_t view = look(window, input, y, x, scratch);
                for (int32_t first = 0; first < channels; first += EQ_CHANNEL_BLOCK) {
                    const int32_t count =
                        eq_channels_s16_begin(&p->channels, first, channels, sums);
                    for (int32_t i = 0; i < count; i++) {
                        sums[i] = add(window, &view, (first + i) / p->multiplier,
                                      p->weights + first + i, channels, sums[i]);
                    }
                    eq_channels_s16(&p->channels, first, count, sums, output + first);
                }
                output += channels;
            }
        }
        input += window->input_height * window->input_width * window->input_channels;
    }
}
