#include "eq_dot.h"

void eq_dot_s8(const int8_t* values, int32_t count, const int8_t* weights, int32_t step,
               int32_t rows, uint32_t* sums) {
    const int8_t* const end = values + count;
    /* Four rows at a time, so that each value is loaded once for four products. */
    for (; rows >= 4; rows -= 4) {
        const int8_t* w0 = weights;
        const int8_t* w1 = w0 + step;
        const int8_t* w2 = w1 + step;
        const int8_t* w3 = w2 + step;
        uint32_t s0 = sums[0];
        uint32_t s1 = sums[1];
        uint32_t s2 = sums[2];
        uint32_t s3 = sums[3];
        for (const int8_t* x = values; x != end; x++) {
            s0 += (uint32_t)(*x * *w0++);
            s1 += (uint32_t)(*x * *w1++);
            s2 += (uint32_t)(*x * *w2++);
            s3 += (uint32_t)(*x * *w3++);
        }
        sums[0] = s0;
        sums[1] = s1;
        sums[2] = s2;
        sums[3] = s3;
        weights += 4 * step;
        sums += 4;
    }
    for (; rows > 0; rows--) {
        const int8_t* w = weights;
        for (const int8_t* x = values; x != end; x++) {
            *sums += (uint32_t)(*x * *w++);
        }
        weights += step;
        sums++;
    }
}
