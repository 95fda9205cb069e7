#include "eq_conv_dsp.h"
#include "eq_dsp.h"

#include <string.h>

static void expand(const int8_t* input, int32_t count, uint32_t* to) {
    for (; count >= 4; count -= 4) {
        const uint32_t four = eq_load_bytes(input);
        *to++ = eq_even_bytes(four);
        *to++ = eq_odd_bytes(four);
        input += 4;
    }
    if (count != 0) {
        int8_t rest[4] = {0, 0, 0, 0};
        memcpy(rest, input, (size_t)count);
        to[0] = eq_even_bytes(eq_load_bytes(rest));
        to[1] = eq_odd_bytes(eq_load_bytes(rest));
    }
}

void eq_fully_connected_blocks_s8_dsp(const eq_fully_connected_blocks_s8_dsp_t* p,
                                      const int8_t* input, void* scratch, int8_t* output) {
    eq_blocks_layer_t layer;
    eq_pixel_begin(&layer, &p->pixel, scratch);
    for (int32_t row = 0; row < p->rows; row++) {
        expand(input, p->input_channels, scratch);
        eq_pixel_s8_dsp(&layer, output);
        input += p->input_channels;
        output += p->pixel.blocks.channels;
    }
}
