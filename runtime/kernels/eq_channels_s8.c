#include "eq_channels.h"
#include "eq_requantize.h"

void eq_channels_s8(const eq_channels_t* p, int32_t first, int32_t count, const uint32_t* sums,
                    int8_t* output) {
    const int32_t step = p->step;
    const int32_t* multiplier = p->multipliers + first * step;
    const int8_t* shift = p->shifts + first * step;
    const int32_t zero_point = p->output_zero_point;
    const int32_t low = p->output_min;
    const int32_t high = p->output_max;
    const uint32_t* const end = sums + count;
    if (p->is_down) {
        for (; sums != end; sums++) {
            const int32_t scaled = eq_multiply_down((int32_t)*sums, *multiplier, -*shift);
            *output++ = (int8_t)eq_clamp(scaled + zero_point, low, high);
            multiplier += step;
            shift += step;
        }
    } else {
        for (; sums != end; sums++) {
            *output++ =
                (int8_t)eq_requantize((int32_t)*sums, *multiplier, *shift, zero_point, low, high);
            multiplier += step;
            shift += step;
        }
    }
}
