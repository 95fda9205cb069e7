#include "eq_conv_s16.h"
#include "eq_requantize.h"

void eq_channels_s16(const eq_channels_s16_t* p, int32_t first, int32_t count, const int64_t* sums,
                     int16_t* output) {
    const int32_t* multiplier = p->multipliers + first * p->step;
    const int8_t* shift = p->shifts + first * p->step;
    for (int32_t i = 0; i < count; i++) {
        const int32_t scaled = p->is_narrow ? eq_multiply((int32_t)sums[i], *multiplier, *shift)
                                            : eq_multiply_s64(sums[i], *multiplier, *shift);
        output[i] = (int16_t)eq_clamp(scaled, p->output_min, p->output_max);
        multiplier += p->step;
        shift += p->step;
    }
}
