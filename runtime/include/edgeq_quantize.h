// SPDX-License-Identifier: Apache-2.0
//
// Real numbers to quantized ones and back, with TFLite's own rounding. C99 and C++11, header only.
//
//     stored = clamp(round(real / scale) + zero_point)
//     real   = (stored - zero_point) * scale
//
// The quotient is a float, and halves round away from zero, as in tflite::AffineQuantize(); so the
// bits are those that edgeq and TFLite compute on the host. Infinities clamp, NaN becomes the zero
// point (a real 0). `scale` must be positive and `zero_point` inside the stored type's range, which
// edgeq has checked for every number that it generates.
//
// No libm. lrintf() rounds halves to even, and adding 0.5f before truncating is wrong for the float
// just below 0.5. Instead: once the quotient is known to lie inside the type's range (under 2^17),
// converting it to an integer truncates exactly, the fraction left over is exact too, and comparing
// that with a half decides.
//
// Not for -ffast-math, which may divide by multiplying with 1 / scale and forgets NaN.

#ifndef EDGEQ_QUANTIZE_H_
#define EDGEQ_QUANTIZE_H_

#include <stddef.h>
#include <stdint.h>

// Generated headers refuse to compile with another version of this file.
#define EQ_QUANTIZE_VERSION 1

static inline int32_t eq_quantize_clamped(float real, float scale, int32_t zero_point, int32_t low,
                                          int32_t high) {
    const float quotient = real / scale;
    if (quotient != quotient) {
        return zero_point;
    }
    if (quotient >= (float)(high - zero_point)) {
        return high;
    }
    if (quotient <= (float)(low - zero_point)) {
        return low;
    }
    int32_t whole = (int32_t)quotient;
    const float fraction = quotient - (float)whole;
    if (fraction >= 0.5f) {
        whole += 1;
    } else if (fraction <= -0.5f) {
        whole -= 1;
    }
    return whole + zero_point;
}

static inline int8_t eq_quantize_int8(float real, float scale, int32_t zero_point) {
    return (int8_t)eq_quantize_clamped(real, scale, zero_point, INT8_MIN, INT8_MAX);
}

static inline uint8_t eq_quantize_uint8(float real, float scale, int32_t zero_point) {
    return (uint8_t)eq_quantize_clamped(real, scale, zero_point, 0, UINT8_MAX);
}

static inline int16_t eq_quantize_int16(float real, float scale, int32_t zero_point) {
    return (int16_t)eq_quantize_clamped(real, scale, zero_point, INT16_MIN, INT16_MAX);
}

static inline float eq_dequantize_int8(int8_t stored, float scale, int32_t zero_point) {
    return (float)(stored - zero_point) * scale;
}

static inline float eq_dequantize_uint8(uint8_t stored, float scale, int32_t zero_point) {
    return (float)(stored - zero_point) * scale;
}

static inline float eq_dequantize_int16(int16_t stored, float scale, int32_t zero_point) {
    return (float)(stored - zero_point) * scale;
}

// The same for `count` values.

static inline void eq_quantize_all_int8(const float* real, int8_t* stored, size_t count,
                                        float scale, int32_t zero_point) {
    for (size_t i = 0; i < count; ++i) {
        stored[i] = eq_quantize_int8(real[i], scale, zero_point);
    }
}

static inline void eq_quantize_all_uint8(const float* real, uint8_t* stored, size_t count,
                                         float scale, int32_t zero_point) {
    for (size_t i = 0; i < count; ++i) {
        stored[i] = eq_quantize_uint8(real[i], scale, zero_point);
    }
}

static inline void eq_quantize_all_int16(const float* real, int16_t* stored, size_t count,
                                         float scale, int32_t zero_point) {
    for (size_t i = 0; i < count; ++i) {
        stored[i] = eq_quantize_int16(real[i], scale, zero_point);
    }
}

static inline void eq_dequantize_all_int8(const int8_t* stored, float* real, size_t count,
                                          float scale, int32_t zero_point) {
    for (size_t i = 0; i < count; ++i) {
        real[i] = eq_dequantize_int8(stored[i], scale, zero_point);
    }
}

static inline void eq_dequantize_all_uint8(const uint8_t* stored, float* real, size_t count,
                                           float scale, int32_t zero_point) {
    for (size_t i = 0; i < count; ++i) {
        real[i] = eq_dequantize_uint8(stored[i], scale, zero_point);
    }
}

static inline void eq_dequantize_all_int16(const int16_t* stored, float* real, size_t count,
                                           float scale, int32_t zero_point) {
    for (size_t i = 0; i < count; ++i) {
        real[i] = eq_dequantize_int16(stored[i], scale, zero_point);
    }
}

#endif // EDGEQ_QUANTIZE_H_
