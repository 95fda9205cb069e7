#include "eq_conv_dsp.h"
#include "eq_dsp.h"

#include <string.h>

/* The ring: row i of the image is in place (i + pad_top) % rows. */
typedef struct {
    int8_t* first;
    int8_t* end;
    int32_t next;  /* the row of the image that is read next */
    int8_t* place; /* for it */
} ring_t;

/* Four values of two pixels as eq_blocks_s8_dsp wants them. */
static inline void expand_four(const int8_t** a, const int8_t** b, uint32_t** to) {
#if EQ_HAS_DSP
    __asm__ volatile(
        "ldr r6, [%0], #4\n ldr r8, [%1], #4\n"
        "sxtb16 r4, r6\n sxtb16 r5, r8\n sxtb16 r6, r6, ror #8\n sxtb16 r8, r8, ror #8\n"
        "stm %2!, {r4-r6, r8}\n"
        : "+r"(*a), "+r"(*b), "+r"(*to)
        :
        : "r4", "r5", "r6", "r8", "memory");
#else
    const uint32_t first = eq_load_bytes(*a);
    const uint32_t second = eq_load_bytes(*b);
    (*to)[0] = eq_even_bytes(first);
    (*to)[1] = eq_even_bytes(second);
    (*to)[2] = eq_odd_bytes(first);
    (*to)[3] = eq_odd_bytes(second);
    *a += 4;
    *b += 4;
    *to += 4;
#endif
}

/* Eight at a time, where they are enough. */
static inline uint32_t* expand(const int8_t* a, const int8_t* b, int32_t fours, uint32_t* to) {
    if (fours % 2 != 0) {
        expand_four(&a, &b, &to);
    }
    for (int32_t left = fours / 2; left != 0; left--) {
        expand_four(&a, &b, &to);
        expand_four(&a, &b, &to);
    }
    return to;
}

/* What two outputs see, from the places of its first row on. */
static void gather(const eq_conv_blocks_s8_dsp_t* p, const ring_t* ring, const int8_t* a,
                   const int8_t* b, uint32_t* values) {
    const int32_t fours = p->row_fours;
    const int32_t down = p->window.dilation_height * p->row;
    const int32_t size = p->rows * p->row;
    int8_t rest[2][4] = {{0}};
    for (int32_t i = 0; i < p->window.kernel_height; i++) {
        values = expand(a, b, fours, values);
        if (p->has_rest) {
            rest[0][i] = a[4 * fours];
            rest[1][i] = b[4 * fours];
        }
        a += down;
        b += down;
        a -= a >= ring->end ? size : 0;
        b -= b >= ring->end ? size : 0;
    }
    if (p->has_rest) {
        expand(rest[0], rest[1], 1, values);
    }
}

static void read_row(const eq_conv_blocks_s8_dsp_t* p, const int8_t* image, ring_t* ring) {
    const eq_window_t* window = &p->window;
    const int32_t size = window->input_width * window->input_channels;
    int8_t* to = ring->place + window->pad_left * window->input_channels;
    if (ring->next >= 0 && ring->next < window->input_height) {
        memcpy(to, image + ring->next * size, (size_t)size);
    } else {
        memset(to, window->zero_point, (size_t)size);
    }
    ring->next++;
    ring->place += p->row;
    if (ring->place == ring->end) {
        ring->place = ring->first;
    }
}

/* Where the rows are that outputs y see, which are all in the ring or in the image. */
static const int8_t* rows_of(const eq_conv_blocks_s8_dsp_t* p, const int8_t* image, ring_t* ring,
                             int32_t y) {
    const eq_window_t* window = &p->window;
    const int32_t top = eq_window_top(window, y);
    if (p->row == 0) {
        return image + top * window->input_width * window->input_channels;
    }
    const int32_t last = top + (window->kernel_height - 1) * window->dilation_height;
    while (ring->next <= last) {
        read_row(p, image, ring);
    }
    return ring->first + (top + window->pad_top) % p->rows * p->row;
}

void eq_conv_blocks_s8_dsp(const eq_conv_blocks_s8_dsp_t* p, const int8_t* input, void* scratch,
                           int8_t* output) {
    const eq_window_t* window = &p->window;
    const int32_t step = window->stride_width * window->input_channels;
    const int32_t channels = p->blocks.channels;
    uint32_t* const values = scratch;
    eq_blocks_layer_t layer;
    ring_t ring;
    ring.first = (int8_t*)(values + 4 * p->blocks.fours);
    ring.end = ring.first + p->rows * p->row;
    eq_blocks_begin(&layer, &p->blocks, values);
    memset(ring.first, window->zero_point, (size_t)(p->rows * p->row));
    for (int32_t batch = 0; batch < p->batches; batch++) {
        const int8_t* first = NULL; /* what a pixel sees that waits for a second one */
        ring.next = -window->pad_top;
        ring.place = ring.first;
        for (int32_t y = 0; y < p->output_height; y++) {
            const int8_t* at = rows_of(p, input, &ring, y);
            for (int32_t x = p->output_width; x != 0; x--) {
                if (first == NULL) {
                    first = at;
                } else {
                    gather(p, &ring, first, at, values);
                    eq_blocks_s8_dsp(&layer, output, channels);
                    output += 2 * channels;
                    first = NULL;
                }
                at += step;
            }
        }
        if (first != NULL) {
            gather(p, &ring, first, first, values);
            eq_blocks_s8_dsp(&layer, output, 0);
            output += channels;
        }
        input += window->input_height * window->input_width * window->input_channels;
    }
}
