#include "eq_window.h"

#include <string.h>

int eq_window_is_inside(const eq_window_t* window, int32_t y, int32_t x) {
    const int32_t top = eq_window_top(window, y);
    const int32_t left = eq_window_left(window, x);
    const int32_t bottom = top + (window->kernel_height - 1) * window->dilation_height;
    const int32_t right = left + (window->kernel_width - 1) * window->dilation_width;
    return top >= 0 && left >= 0 && bottom < window->input_height && right < window->input_width;
}

/* How many of `count` columns from `first` on are on the same side as the first: left of the image,
 * in it, or right of it.
 */
static int32_t run(const eq_window_t* window, int32_t first, int32_t count) {
    const int32_t edge = first < 0 ? 0 : window->input_width;
    return first < edge && edge - first < count ? edge - first : count;
}

void eq_window_gather(const eq_window_t* window, const void* image, int32_t size, int32_t y,
                      int32_t x, int32_t channel, int32_t channels, void* patch) {
    const int32_t pixel = window->input_channels * size;
    const int32_t tap = channels * size;
    const int is_dense = tap == pixel && window->dilation_width == 1;
    const uint8_t* corner = (const uint8_t*)image + channel * size;
    uint8_t* to = patch;
    int32_t row = eq_window_top(window, y);
    for (int32_t i = 0; i < window->kernel_height; i++) {
        const int row_is_inside = row >= 0 && row < window->input_height;
        int32_t column = eq_window_left(window, x);
        int32_t left = window->kernel_width;
        while (left > 0) {
            /* Where taps lie side by side, all that are inside are one copy. */
            const int32_t taps = is_dense ? run(window, column, left) : 1;
            const size_t bytes = (size_t)(taps * tap);
            if (row_is_inside && column >= 0 && column < window->input_width) {
                memcpy(to, corner + (row * window->input_width + column) * pixel, bytes);
            } else {
                memset(to, window->zero_point, bytes);
            }
            to += bytes;
            left -= taps;
            column += taps * window->dilation_width;
        }
        row += window->dilation_height;
    }
}
