/* Where the taps of a kernel lie on an image. */
#ifndef EQ_WINDOW_H_
#define EQ_WINDOW_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Output (y, x) reads the input rows y * stride_height - pad_top + i * dilation_height, and columns
 * likewise; what is outside reads `zero_point`.
 */
typedef struct {
    int32_t input_height;
    int32_t input_width;
    int32_t input_channels;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_height;
    int32_t stride_width;
    int32_t dilation_height;
    int32_t dilation_width;
    int32_t pad_top;
    int32_t pad_left;
    int32_t zero_point;
} eq_window_t;

static inline int32_t eq_window_top(const eq_window_t* window, int32_t y) {
    return y * window->stride_height - window->pad_top;
}

static inline int32_t eq_window_left(const eq_window_t* window, int32_t x) {
    return x * window->stride_width - window->pad_left;
}

/* Whether all taps of the output at (y, x) are inside the image. */
int eq_window_is_inside(const eq_window_t* window, int32_t y, int32_t x);

/* Copies the taps of the output at (y, x), `channels` from `channel` on, to `patch`, those of one
 * tap side by side: kernel_height * kernel_width * channels values of `size` bytes. Values of more
 * than one byte have the zero point 0.
 */
void eq_window_gather(const eq_window_t* window, const void* image, int32_t size, int32_t y,
                      int32_t x, int32_t channel, int32_t channels, void* patch);

#ifdef __cplusplus
}
#endif

#endif /* EQ_WINDOW_H_ */
