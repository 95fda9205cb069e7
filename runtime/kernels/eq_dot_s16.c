#include "eq_conv_s16.h"

/* A product is within -2^22 .. 2^22, so that this many have a sum of 32 bits. */
#define LONGEST_RUN 256

static void add_run(const int16_t* values, int32_t count, const int8_t* weights, int32_t step,
                    int32_t rows, int64_t* sums) {
    const int16_t* const end = values + count;
    /* Four rows at a time, so that each value is loaded once for four products. */
    for (; rows >= 4; rows -= 4) {
        const int8_t* w0 = weights;
        const int8_t* w1 = w0 + step;
        const int8_t* w2 = w1 + step;
        const int8_t* w3 = w2 + step;
        int32_t s0 = 0;
        int32_t s1 = 0;
        int32_t s2 = 0;
        int32_t s3 = 0;
        for (const int16_t* x = values; x != end; x++) {
            s0 += *x * *w0++;
            s1 += *x * *w1++;
            s2 += *x * *w2++;
            s3 += *x * *w3++;
        }
        sums[0] += s0;
        sums[1] += s1;
        sums[2] += s2;
        sums[3] += s3;
        weights += 4 * step;
        sums += 4;
    }
    for (; rows > 0; rows--) {
        const int8_t* w = weights;
        int32_t sum = 0;
        for (const int16_t* x = values; x != end; x++) {
            sum += *x * *w++;
        }
        *sums++ += sum;
        weights += step;
    }
}

void eq_dot_s16(const int16_t* values, int32_t count, const int8_t* weights, int32_t step,
                int32_t rows, int64_t* sums) {
    for (int32_t i = 0; i < count; i += LONGEST_RUN) {
        const int32_t run = count - i < LONGEST_RUN ? count - i : LONGEST_RUN;
        add_run(values + i, run, weights + i, step, rows, sums);
    }
}
