/* The text that the kernels of eq_pool.h have in common. A kernel's file defines these, and then
 * includes it:
 *
 *     EQ_POOL                   the function's name
 *     EQ_VALUE                  int8_t or int16_t
 *     EQ_START                  what each output begins with
 *     EQ_TAKE(so_far, value)    that with one value more
 *     EQ_RESULT(so_far, count)  the output of `count` values, before its limits
 */
#include "eq_requantize.h"

void EQ_POOL(const eq_pool_t* p, const EQ_VALUE* input, EQ_VALUE* output) {
    const int32_t row = p->input_width * p->channels;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->output_height; y++) {
            const eq_span_t rows =
                eq_pool_span(y * p->stride_height - p->pad_top, p->kernel_height, p->input_height);
            for (int32_t x = 0; x < p->output_width; x++) {
                const eq_span_t columns = eq_pool_span(x * p->stride_width - p->pad_left,
                                                       p->kernel_width, p->input_width);
                const int32_t count = (rows.end - rows.first) * (columns.end - columns.first);
                const EQ_VALUE* corner = input + rows.first * row + columns.first * p->channels;
                for (int32_t channel = 0; channel < p->channels; channel++) {
                    int32_t so_far = EQ_START;
                    const EQ_VALUE* line = corner + channel;
                    for (int32_t i = rows.first; i < rows.end; i++) {
                        const EQ_VALUE* tap = line;
                        for (int32_t j = columns.first; j < columns.end; j++) {
                            so_far = EQ_TAKE(so_far, *tap);
                            tap += p->channels;
                        }
                        line += row;
                    }
                    const int32_t value = EQ_RESULT(so_far, count);
                    *output++ = (EQ_VALUE)eq_clamp(value, p->output_min, p->output_max);
                }
            }
        }
        input += p->input_height * row;
    }
}
