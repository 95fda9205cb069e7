/* CAST from and to float32. Header only, so that no kernel holds floating point. */
#ifndef EQ_CAST_H_
#define EQ_CAST_H_

#include <stdint.h>

static inline void eq_cast_s32_f32(const int32_t* input, float* output, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        output[i] = (float)input[i];
    }
}

/* The number without its fraction, limited to low .. high; NaN is 0.
 *
 * Formula: CAST of the tflite-micro wheel, 2026-10: a static_cast that saturates.
 */
static inline int32_t eq_truncated(float value, int32_t low, int32_t high) {
    if (value != value) {
        return 0;
    }
    if (value >= (float)high) {
        return high;
    }
    return value <= (float)low ? low : (int32_t)value;
}

/* In place: the output of eq_cast_f32_s8 may be its input. */
static inline void eq_cast_f32_s32(const float* input, int32_t* output, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        output[i] = eq_truncated(input[i], INT32_MIN, INT32_MAX);
    }
}

static inline void eq_cast_f32_s16(const float* input, int16_t* output, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        output[i] = (int16_t)eq_truncated(input[i], INT16_MIN, INT16_MAX);
    }
}

static inline void eq_cast_f32_s8(const float* input, int8_t* output, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        output[i] = (int8_t)eq_truncated(input[i], INT8_MIN, INT8_MAX);
    }
}

#endif /* EQ_CAST_H_ */
