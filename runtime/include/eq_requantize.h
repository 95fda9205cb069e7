/* Fixed-point arithmetic of the kernels: TensorFlow Lite Micro's, to the bit.
 *
 * A real factor is a pair (multiplier, shift): multiplier * 2^(shift - 31), with the multiplier in
 * 2^30 .. 2^31 - 1 (or 0) and the shift in -31 .. 30. The build computes the pairs
 * (edgeq/codegen/aot/multipliers.py); nothing here uses floating point.
 *
 * Two things are taken for granted that C99 leaves to the compiler and that every compiler for
 * these cores does: >> of a negative number keeps the sign, and a conversion to int32_t keeps the
 * low 32 bits.
 */
#ifndef EQ_REQUANTIZE_H_
#define EQ_REQUANTIZE_H_

#include <stdint.h>

static inline int32_t eq_min(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static inline int32_t eq_max(int32_t a, int32_t b) {
    return a > b ? a : b;
}

/* `value` limited to low .. high. */
static inline int32_t eq_clamp(int32_t value, int32_t low, int32_t high) {
    return eq_min(eq_max(value, low), high);
}

/* a + b modulo 2^32. Accumulators wrap: TFLM's do too, and a sum whose parts wrap is still right.
 */
static inline int32_t eq_wrapping_add(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* a * b / 2^31, rounded to nearest, halves up.
 *
 * Any a, b but both -2^31. gemmlowp's SaturatingRoundingDoublingHighMul, which rounds the
 * magnitude of a negative product so that halves go up as well: one shift does both.
 */
static inline int32_t eq_high_mul(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* x / 2^exponent, rounded to nearest, halves away from zero. Any x, exponent 0 .. 31.
 *
 * gemmlowp's RoundingDivideByPOT.
 */
static inline int32_t eq_divide_by_pot(int32_t x, int32_t exponent) {
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + ((x & mask) > threshold ? 1 : 0);
}

/* x times (multiplier, -exponent), rounded twice: after the multiplication, halves up, and after
 * the right shift, halves away from zero. Any x, exponent 1 .. 31.
 *
 * TFLM's MultiplyByQuantizedMultiplier for int32, of a factor below a half. The second rounding is
 * eq_divide_by_pot in four steps instead of nine: a negative number is lowered by one, so that
 * rounding halves up rounds its halves down. Nothing overflows, since |product| <= 2^31 - 1, and
 * below that for a negative x.
 */
static inline int32_t eq_multiply_down(int32_t x, int32_t multiplier, int32_t exponent) {
    int32_t product = eq_high_mul(x, multiplier);
    product += product >> 31;
    return ((product >> (exponent - 1)) + 1) >> 1;
}

/* x times (multiplier, shift), for any shift. A left shift wraps when it pushes bits out.
 *
 * TFLM's MultiplyByQuantizedMultiplier for int32.
 */
static inline int32_t eq_multiply(int32_t x, int32_t multiplier, int32_t shift) {
    if (shift >= 0) {
        return eq_high_mul((int32_t)((uint32_t)x << shift), multiplier);
    }
    return eq_multiply_down(x, multiplier, -shift);
}

/* The same for the 64-bit accumulators of int16 activations: x in -2^47 .. 2^47 - 1, shift in
 * -31 .. 7, rounded once, halves up. `reduced` is the multiplier rounded to 15 bits,
 * 0 .. 2^15 - 1, which the build does.
 *
 * TFLM's MultiplyByQuantizedMultiplier for int64.
 */
static inline int32_t eq_multiply_s64(int64_t x, int32_t reduced, int32_t shift) {
    const int32_t total = 15 - shift;
    return (int32_t)((x * reduced + ((int64_t)1 << (total - 1))) >> total);
}

/* An accumulator as an output value: scaled, moved to the output's zero point, limited. */
static inline int32_t eq_requantize(int32_t accumulator, int32_t multiplier, int32_t shift,
                                    int32_t zero_point, int32_t low, int32_t high) {
    const int32_t scaled = eq_multiply(accumulator, multiplier, shift);
    return eq_clamp(eq_wrapping_add(scaled, zero_point), low, high);
}

#endif /* EQ_REQUANTIZE_H_ */
