/* From one stored type to another. From and to float32: edgeq_quantize.h. */
#ifndef EQ_CONVERT_H_
#define EQ_CONVERT_H_

#include "eq_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* (multiplier, shift) is input scale / output scale. */
typedef struct {
    int32_t count;
    int32_t input_zero_point;
    int32_t multiplier;
    int32_t shift;
    int32_t output_zero_point;
} eq_quantize_t;

/* QUANTIZE between integers: to the output's scale and zero point, limited to its type. (From int8
 * to int8 it is a table, eq_lookup_s8.)
 *
 * In place, where the input or the output has bytes or both have one type: output may be input, if
 * its values are not wider; values that are wider by n bytes may be written over the input when the
 * output begins at least n * (count - 1) bytes before. (C lets the compiler take for granted that
 * int16_t and int32_t never share memory.) Formula: TFLM's reference_ops::Requantize, whose way
 * around for a zero point moved by 128 has the same result. int32 values have the zero point 0.
 */
void eq_quantize_s8_s16(const eq_quantize_t* p, const int8_t* input, int16_t* output);
void eq_quantize_s8_u8(const eq_quantize_t* p, const int8_t* input, uint8_t* output);
void eq_quantize_u8_s8(const eq_quantize_t* p, const uint8_t* input, int8_t* output);
void eq_quantize_s16_s8(const eq_quantize_t* p, const int16_t* input, int8_t* output);
void eq_quantize_s16(const eq_quantize_t* p, const int16_t* input, int16_t* output);
void eq_quantize_s8_s32(const eq_quantize_t* p, const int8_t* input, int32_t* output);
void eq_quantize_s16_s32(const eq_quantize_t* p, const int16_t* input, int32_t* output);
void eq_quantize_s32_s8(const eq_quantize_t* p, const int32_t* input, int8_t* output);
void eq_quantize_s32_s16(const eq_quantize_t* p, const int32_t* input, int16_t* output);

/* One value of the above; low .. high is what the output's type holds. */
static inline int32_t eq_quantized(const eq_quantize_t* p, int32_t value, int32_t low,
                                   int32_t high) {
    return eq_requantize(value - p->input_zero_point, p->multiplier, p->shift, p->output_zero_point,
                         low, high);
}

/* Bytes of a value, 1, 2 or 4. */
typedef struct {
    int32_t count;
    int32_t input_size;
    int32_t output_size;
} eq_cast_t;

/* CAST between int8 (and bool, of values 0 and 1), int16 and int32: the low bits of the value.
 *
 * In place: output may be input, if its values are not wider. Formula: static_cast of TFLM's
 * copyCast.
 */
void eq_cast(const eq_cast_t* p, const void* input, void* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_CONVERT_H_ */
