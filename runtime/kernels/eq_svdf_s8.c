#include "eq_dot.h"
#include "eq_requantize.h"
#include "eq_svdf.h"

#include <string.h>

/* Filters whose features are computed together. */
#define BLOCK 16

/* Puts the newest feature behind the others, the oldest of which is forgotten, and weighs all. */
static uint32_t remember(int16_t* state, int32_t memory, int32_t feature, const int16_t* weights) {
    uint32_t sum = 0;
    memmove(state, state + 1, (size_t)(memory - 1) * sizeof *state);
    state[memory - 1] = (int16_t)feature;
    for (int32_t i = 0; i < memory; i++) {
        sum += (uint32_t)(state[i] * weights[i]);
    }
    return sum;
}

void eq_svdf_s8(const eq_svdf_s8_t* p, const int8_t* input, int16_t* state, int8_t* output) {
    const int32_t filters = p->units * p->rank;
    uint32_t features[BLOCK];
    for (int32_t batch = 0; batch < p->batches; batch++) {
        const int16_t* time_weights = p->time_weights;
        const int32_t* bias = p->bias;
        uint32_t sum = 0;
        int32_t left = p->rank; /* filters until the unit is complete */
        for (int32_t first = 0; first < filters; first += BLOCK) {
            const int32_t count = eq_min(filters - first, BLOCK);
            memcpy(features, p->feature_bias + first, (size_t)count * sizeof *features);
            eq_dot_s8(input, p->input_size, p->feature_weights + first * p->input_size,
                      p->input_size, count, features);
            for (int32_t i = 0; i < count; i++) {
                const int32_t feature = eq_requantize((int32_t)features[i], p->feature_multiplier,
                                                      p->feature_shift, 0, INT16_MIN, INT16_MAX);
                sum += remember(state, p->memory, feature, time_weights);
                state += p->memory;
                time_weights += p->memory;
                if (--left == 0) {
                    *output++ = (int8_t)eq_requantize((int32_t)(sum + (uint32_t)*bias++),
                                                      p->output_multiplier, p->output_shift,
                                                      p->output_zero_point, INT8_MIN, INT8_MAX);
                    sum = 0;
                    left = p->rank;
                }
            }
        }
        input += p->input_size;
    }
}
