#include "eq_arithmetic_dsp.h"
#include "eq_dsp.h"

/* The outputs of four values of both, eight bits up in the lanes of even and odd bytes. */
static inline void add_two(const eq_add_flat_s8_dsp_t* p, uint32_t x, uint32_t y, int32_t* low,
                           int32_t* high) {
    const int32_t first = eq_add_low_product(p->start, p->a, x);
    const int32_t second = eq_add_high_lane_product(p->start, p->a, x);
    *low = eq_saturate_upper_s8(eq_add_low_product(first, p->b, y));
    *high = eq_saturate_upper_s8(eq_add_high_lane_product(second, p->b, y));
}

void eq_add_flat_s8_dsp(const eq_add_flat_s8_dsp_t* p, const int8_t* a, const int8_t* b,
                        int8_t* output) {
    const eq_add_flat_s8_dsp_t constants = *p;
    const uint32_t upper = 0xff00ff00u;
    int8_t* const end = output + p->count;
    while (end - output >= 4) {
        const uint32_t x = eq_load_bytes(a);
        const uint32_t y = eq_load_bytes(b);
        int32_t sums[4];
        add_two(&constants, (x << 8) & upper, (y << 8) & upper, &sums[0], &sums[2]);
        add_two(&constants, x & upper, y & upper, &sums[1], &sums[3]);
        output[0] = (int8_t)sums[0];
        output[1] = (int8_t)sums[1];
        output[2] = (int8_t)sums[2];
        output[3] = (int8_t)sums[3];
        a += 4;
        b += 4;
        output += 4;
    }
    while (output != end) {
        int32_t sums[2];
        add_two(&constants, (uint32_t)*a << 8, (uint32_t)*b << 8, &sums[0], &sums[1]);
        *output++ = (int8_t)sums[0];
        a++;
        b++;
    }
}
