#include "eq_resize.h"

#include <string.h>

void eq_resize_nearest(const eq_resize_nearest_t* p, const void* input, void* output) {
    const int32_t line = p->input_width * p->pixel;
    const uint8_t* image = input;
    uint8_t* to = output;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->output_height; y++) {
            const uint8_t* row = image + p->rows[y] * line;
            for (int32_t x = 0; x < p->output_width; x++) {
                memcpy(to, row + p->columns[x] * p->pixel, (size_t)p->pixel);
                to += p->pixel;
            }
        }
        image += p->input_height * line;
    }
}
