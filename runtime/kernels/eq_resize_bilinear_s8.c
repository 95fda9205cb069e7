#include "eq_requantize.h"
#include "eq_resize.h"

/* The inputs on both sides of a place, and how far it is from the lower one: in 1/1024, below 0
 * before the first input, where both are that one.
 */
typedef struct {
    int32_t lower;
    int32_t upper;
    int32_t weight;
} neighbors_t;

static neighbors_t neighbors(const eq_resize_side_t* side, int32_t i) {
    const int32_t place = i * side->scale + side->offset;
    neighbors_t found;
    found.lower = eq_max(place / 1024, 0);
    found.upper = eq_min((place + 1023) / 1024, side->input_size - 1);
    found.weight = place - found.lower * 1024;
    return found;
}

/* sum / 2^20, rounded to nearest, halves away from zero. */
static int8_t rounded(int32_t sum) {
    return (int8_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
}

void eq_resize_bilinear_s8(const eq_resize_bilinear_t* p, const int8_t* input, int8_t* output) {
    const int32_t channels = p->channels;
    const int32_t line = p->width.input_size * channels;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->height.output_size; y++) {
            const neighbors_t row = neighbors(&p->height, y);
            const int8_t* top = input + row.lower * line;
            const int8_t* bottom = input + row.upper * line;
            for (int32_t x = 0; x < p->width.output_size; x++) {
                const neighbors_t column = neighbors(&p->width, x);
                const int32_t left = column.lower * channels;
                const int32_t right = column.upper * channels;
                const int32_t top_left = (1024 - row.weight) * (1024 - column.weight);
                const int32_t top_right = (1024 - row.weight) * column.weight;
                const int32_t bottom_left = row.weight * (1024 - column.weight);
                const int32_t bottom_right = row.weight * column.weight;
                for (int32_t c = 0; c < channels; c++) {
                    *output++ =
                        rounded(top[left + c] * top_left + top[right + c] * top_right +
                                bottom[left + c] * bottom_left + bottom[right + c] * bottom_right);
                }
            }
        }
        input += p->height.input_size * line;
    }
}
