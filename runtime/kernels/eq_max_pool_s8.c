#include "eq_pool.h"
#include "eq_requantize.h"

void eq_max_pool_s8(const eq_pool_t* p, const int8_t* input, int8_t* output) {
    const int32_t row = p->input_width * p->channels;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->output_height; y++) {
            const eq_span_t rows =
                eq_pool_span(y * p->stride_height - p->pad_top, p->kernel_height, p->input_height);
            for (int32_t x = 0; x < p->output_width; x++) {
                const eq_span_t columns = eq_pool_span(x * p->stride_width - p->pad_left,
                                                       p->kernel_width, p->input_width);
                const int8_t* corner = input + rows.first * row + columns.first * p->channels;
                for (int32_t channel = 0; channel < p->channels; channel++) {
                    int32_t largest = INT8_MIN;
                    const int8_t* line = corner + channel;
                    for (int32_t i = rows.first; i < rows.end; i++) {
                        const int8_t* tap = line;
                        for (int32_t j = columns.first; j < columns.end; j++) {
                            largest = eq_max(largest, *tap);
                            tap += p->channels;
                        }
                        line += row;
                    }
                    *output++ = (int8_t)eq_clamp(largest, p->output_min, p->output_max);
                }
            }
        }
        input += p->input_height * row;
    }
}
