/* Where the kernels of DEPTHWISE_CONV_2D for int8 read the pixels of one output. */
#ifndef EQ_TAPS_H_
#define EQ_TAPS_H_

#include "eq_window.h"

/* The taps of one output: a pixel of the image each, or one of zero points for the padding. */
typedef struct {
    const int8_t** first;
    const int8_t** end;
} eq_taps_t;

/* Sets kernel_height * kernel_width `taps` for the output at (y, x). */
static inline void eq_find_taps(const eq_window_t* window, const int8_t* image, int32_t y,
                                int32_t x, const int8_t* padding, const int8_t** taps) {
    int32_t row = eq_window_top(window, y);
    for (int32_t i = 0; i < window->kernel_height; i++) {
        const int row_is_inside = row >= 0 && row < window->input_height;
        int32_t column = eq_window_left(window, x);
        for (int32_t j = 0; j < window->kernel_width; j++) {
            const int is_inside = row_is_inside && column >= 0 && column < window->input_width;
            const int32_t pixel = row * window->input_width + column;
            *taps++ = is_inside ? image + pixel * window->input_channels : padding;
            column += window->dilation_width;
        }
        row += window->dilation_height;
    }
}

#endif /* EQ_TAPS_H_ */
