#include "eq_conv_dsp.h"
#include "eq_dsp.h"
#include "eq_requantize.h"

/* eq_multiply_down of eq_requantize.h, the exponent less one given.
 *
 * eq_high_mul(x, m) is x * 2m / 2^32, rounded to nearest, halves up. With m in 2^30 .. 2^31 - 1,
 * 2m as an int32_t is 2m - 2^32, and x * 2^32 + x * (2m - 2^32) is x * 2m.
 */
static inline int32_t multiply_down(int32_t x, int32_t multiplier, int32_t less) {
    const int32_t twice = (int32_t)((uint32_t)multiplier << 1);
    int32_t product = eq_add_high_product(x, x, twice);
    product += product >> 31;
    return ((product >> less) + 1) >> 1;
}

/* Inlined with `step` a constant, where the loop needs no sums for the addresses. */
static inline void convert(const eq_channels_t* p, int32_t step, int32_t first, int32_t count,
                           const uint32_t* sums, int8_t* output) {
    const int32_t* multiplier = p->multipliers + first * step;
    const int8_t* shift = p->shifts + first * step;
    const int32_t zero_point = p->output_zero_point;
    const int32_t low = p->output_min;
    const int32_t high = p->output_max;
    const int is_limited = low > -128 || high < 127;
    const uint32_t* const end = sums + count;
    do {
        const int32_t scaled = multiply_down((int32_t)*sums++, *multiplier, ~*shift);
        int32_t value = eq_saturate_s8(scaled + zero_point);
        if (is_limited) {
            value = eq_clamp(value, low, high);
        }
        *output++ = (int8_t)value;
        multiplier += step;
        shift += step;
    } while (sums != end);
}

void eq_channels_s8_dsp(const eq_channels_t* p, int32_t first, int32_t count, const uint32_t* sums,
                        int8_t* output) {
    if (p->step == 1) {
        convert(p, 1, first, count, sums, output);
    } else {
        convert(p, 0, first, count, sums, output);
    }
}
