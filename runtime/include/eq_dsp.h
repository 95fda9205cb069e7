/* The instructions of Arm's DSP extension that kernels use, and what they compute where there is
 * none: the kernels of variant `dsp` give the same bytes on any little-endian computer.
 *
 * A word holds two lanes of 16 bits, the low one first, or four bytes. Formulas: Arm Architecture
 * Reference Manual, ARMv7-M, chapter A7.7. Sums wrap; the Q flag that SMLAD and SSAT may set is of
 * no interest.
 */
#ifndef EQ_DSP_H_
#define EQ_DSP_H_

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && defined(__thumb2__) && defined(__ARM_FEATURE_DSP)
#define EQ_HAS_DSP 1
#else
#define EQ_HAS_DSP 0
#endif

/* Four bytes at any address. */
static inline uint32_t eq_load_bytes(const int8_t* from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* The next two words, and moves on. */
static inline void eq_load_pair(const int32_t** from, uint32_t* first, uint32_t* second) {
#if EQ_HAS_DSP
    const int32_t* at = *from;
    __asm__("ldrd %0, %1, [%2], #8"
            : "=&r"(*first), "=&r"(*second), "+r"(at)
            : "m"(*(const int32_t (*)[2])at));
    *from = at;
#else
    *first = (uint32_t)(*from)[0];
    *second = (uint32_t)(*from)[1];
    *from += 2;
#endif
}

#if EQ_HAS_DSP

/* Bytes 0 and 2, each as a lane with its sign. */
static inline uint32_t eq_even_bytes(uint32_t word) {
    uint32_t lanes;
    __asm__("sxtb16 %0, %1" : "=r"(lanes) : "r"(word));
    return lanes;
}

/* Bytes 1 and 3. */
static inline uint32_t eq_odd_bytes(uint32_t word) {
    uint32_t lanes;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(lanes) : "r"(word));
    return lanes;
}

/* The low lanes of both. */
static inline uint32_t eq_low_lanes(uint32_t low, uint32_t high) {
    uint32_t lanes;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(lanes) : "r"(low), "r"(high));
    return lanes;
}

/* The high lanes of both. */
static inline uint32_t eq_high_lanes(uint32_t low, uint32_t high) {
    uint32_t lanes;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(lanes) : "r"(high), "r"(low));
    return lanes;
}

/* sum + the products of both lanes, modulo 2^32. */
static inline uint32_t eq_add_products(uint32_t sum, uint32_t a, uint32_t b) {
    uint32_t total;
    __asm__("smlad %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum));
    return total;
}

/* (sum * 2^32 + a * b) / 2^32, rounded to nearest, halves up, modulo 2^32. */
static inline int32_t eq_add_high_product(int32_t sum, int32_t a, int32_t b) {
    int32_t total;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum));
    return total;
}

/* a * b / 2^32, rounded to nearest, halves up. */
static inline int32_t eq_high_product(int32_t a, int32_t b) {
    int32_t product;
    __asm__("smmulr %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
}

/* sum + a * the low lane of b / 2^16, rounded down, modulo 2^32. */
static inline int32_t eq_add_low_product(int32_t sum, int32_t a, uint32_t b) {
    int32_t total;
    __asm__("smlawb %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum));
    return total;
}

/* The same of the high lane. */
static inline int32_t eq_add_high_lane_product(int32_t sum, int32_t a, uint32_t b) {
    int32_t total;
    __asm__("smlawt %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(b), "r"(sum));
    return total;
}

/* value >> 20, limited to -128 .. 127. */
static inline int32_t eq_saturate_upper_s8(int32_t value) {
    int32_t limited;
    __asm__("ssat %0, #8, %1, asr #20" : "=r"(limited) : "r"(value));
    return limited;
}

/* Limited to -128 .. 127. */
static inline int32_t eq_saturate_s8(int32_t value) {
    int32_t limited;
    __asm__("ssat %0, #8, %1" : "=r"(limited) : "r"(value));
    return limited;
}

#else

static inline uint32_t eq_lanes(int32_t low, int32_t high) {
    return ((uint32_t)low & 0xffffu) | (uint32_t)high << 16;
}

static inline uint32_t eq_even_bytes(uint32_t word) {
    return eq_lanes((int8_t)word, (int8_t)(word >> 16));
}

static inline uint32_t eq_odd_bytes(uint32_t word) {
    return eq_even_bytes(word >> 8);
}

static inline uint32_t eq_low_lanes(uint32_t low, uint32_t high) {
    return (low & 0xffffu) | high << 16;
}

static inline uint32_t eq_high_lanes(uint32_t low, uint32_t high) {
    return low >> 16 | (high & 0xffff0000u);
}

static inline uint32_t eq_add_products(uint32_t sum, uint32_t a, uint32_t b) {
    const int32_t low = (int16_t)a * (int16_t)b;
    const int32_t high = (int16_t)(a >> 16) * (int16_t)(b >> 16);
    return sum + (uint32_t)low + (uint32_t)high;
}

static inline int32_t eq_add_high_product(int32_t sum, int32_t a, int32_t b) {
    const uint64_t product = (uint64_t)((int64_t)a * b) + ((uint64_t)1 << 31);
    return (int32_t)(uint32_t)((product >> 32) + (uint32_t)sum);
}

static inline int32_t eq_high_product(int32_t a, int32_t b) {
    return eq_add_high_product(0, a, b);
}

static inline int32_t eq_add_low_product(int32_t sum, int32_t a, uint32_t b) {
    return (int32_t)((uint32_t)sum + (uint32_t)(((int64_t)a * (int16_t)b) >> 16));
}

static inline int32_t eq_add_high_lane_product(int32_t sum, int32_t a, uint32_t b) {
    return eq_add_low_product(sum, a, b >> 16);
}

static inline int32_t eq_saturate_s8(int32_t value) {
    return value < -128 ? -128 : value > 127 ? 127 : value;
}

static inline int32_t eq_saturate_upper_s8(int32_t value) {
    return eq_saturate_s8(value >> 20);
}

#endif /* EQ_HAS_DSP */

/* From `sum`, 256 times a sum and a bias that holds all roundings and the zero point, to an output:
 * see edgeq/codegen/aot/requantization.py, which finds multiplier and bias.
 */
static inline int8_t eq_line_s8(int32_t sum, int32_t multiplier, int32_t shift) {
    return (int8_t)eq_saturate_s8(eq_high_product(sum, multiplier) >> shift);
}

/* eq_multiply_down of eq_requantize.h, of `twice` the sum; `scale` is 2^32 / 2^exponent, of an
 * exponent of at least 2. Then the zero point is added.
 */
static inline int8_t eq_exact_s8(int32_t twice, int32_t multiplier, int32_t scale,
                                 int32_t zero_point) {
    int32_t product = eq_high_product(twice, multiplier);
    product += product >> 31;
    return (int8_t)eq_saturate_s8(eq_add_high_product(zero_point, product, scale));
}

/* The outputs of two channels, from their sums of 256 * a + b and of b, as eq_blocks.h has them:
 * `packed` begins with the bias of b.
 */
static inline void eq_pair_s8(const int32_t* packed, int is_exact, int32_t amount, uint32_t both,
                              uint32_t second, int8_t* output) {
    const int32_t a = (int32_t)(both - second);
    const uint32_t bias = (uint32_t)packed[0];
    if (is_exact) {
        output[0] = eq_exact_s8(a >> 7, packed[1], packed[3], amount);
        output[1] = eq_exact_s8((int32_t)(bias + (second << 1)), packed[2], packed[4], amount);
    } else {
        output[0] = eq_line_s8(a, packed[1], amount);
        output[1] = eq_line_s8((int32_t)(bias + (second << 8)), packed[2], amount);
    }
}

#endif /* EQ_DSP_H_ */
