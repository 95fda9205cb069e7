#include "eq_real.h"

#include "eq_reply.h"

#include <string.h>

#define MANTISSA_BITS 24
#define MANTISSA_LIMIT ((uint64_t)1 << MANTISSA_BITS)

/* value / 2^shift to the nearest integer, ties to even. */
static uint64_t round_shift(uint64_t value, uint32_t shift) {
    uint64_t quotient, rest, half;
    if (shift == 0) {
        return value;
    }
    if (shift > 63) {
        return 0; /* value < 2^35 wherever this is called */
    }
    quotient = value >> shift;
    rest = value & (((uint64_t)1 << shift) - 1);
    half = (uint64_t)1 << (shift - 1);
    if (rest > half || (rest == half && (quotient & 1) != 0)) {
        quotient++;
    }
    return quotient;
}

/* value * 2^exponent with a mantissa of MANTISSA_BITS. */
static eq_real_t to_real(uint64_t value, int32_t exponent, bool negative) {
    eq_real_t real = {0, 0, negative, EQ_FINITE};
    uint32_t shift = 0;
    while (value >> shift >= MANTISSA_LIMIT) {
        shift++;
    }
    value = round_shift(value, shift);
    if (value == MANTISSA_LIMIT) {
        value >>= 1;
        shift++;
    }
    real.mantissa = (uint32_t)value;
    real.exponent = (int16_t)(exponent + (int32_t)shift);
    /* FLT_MAX has the exponent 104 in this form. */
    if (real.mantissa >= MANTISSA_LIMIT / 2 && real.exponent > 104) {
        real.kind = EQ_INFINITE;
    }
    return real;
}

eq_real_t eq_real_from_float(float value) {
    eq_real_t real = {0, 0, false, EQ_FINITE};
    uint32_t bits;
    uint32_t exponent;
    memcpy(&bits, &value, sizeof bits);
    exponent = bits >> 23 & 0xff;
    real.mantissa = bits & 0x7fffff;
    real.negative = bits >> 31 != 0;
    if (exponent == 0xff) {
        real.kind = real.mantissa == 0 ? EQ_INFINITE : EQ_NOT_A_NUMBER;
    } else if (exponent == 0) {
        real.exponent = -149;
    } else {
        real.mantissa |= 0x800000;
        real.exponent = (int16_t)((int32_t)exponent - 150);
    }
    return real;
}

eq_real_t eq_real_scale(int64_t steps, float scale) {
    eq_real_t factor = eq_real_from_float(scale);
    uint64_t magnitude = steps < 0 ? 0 - (uint64_t)steps : (uint64_t)steps;
    eq_real_t number = to_real(magnitude, 0, (steps < 0) != factor.negative);
    if (factor.kind != EQ_FINITE) {
        return factor;
    }
    return to_real((uint64_t)number.mantissa * factor.mantissa, number.exponent + factor.exponent,
                   number.negative);
}

/* An integer of up to 128 bits: mantissa * 2^exponent, exponent > 0. */
static void put_large(eq_harness_t* harness, uint32_t mantissa, int32_t exponent) {
    char digits[40];
    size_t start = sizeof digits;
    do {
        digits[--start] = (char)('0' + mantissa % 10);
        mantissa /= 10;
    } while (mantissa > 0);
    for (; exponent > 0; exponent--) {
        int carry = 0;
        for (size_t i = sizeof digits; i-- > start;) {
            int twice = 2 * (digits[i] - '0') + carry;
            carry = twice >= 10;
            digits[i] = (char)('0' + (carry ? twice - 10 : twice));
        }
        if (carry) {
            digits[--start] = '1';
        }
    }
    eq_put_bytes(harness, digits + start, sizeof digits - start);
}

void eq_put_real(eq_harness_t* harness, eq_real_t real) {
    uint32_t thousandths = 0;
    if (real.negative && real.kind != EQ_NOT_A_NUMBER) {
        eq_put(harness, "-");
    }
    if (real.kind != EQ_FINITE) {
        eq_put(harness, real.kind == EQ_INFINITE ? "inf" : "nan");
        return;
    }
    if (real.exponent > 0 && real.mantissa > 0) {
        put_large(harness, real.mantissa, real.exponent);
    } else {
        /* mantissa * 1000 < 2^34 */
        uint32_t shift = (uint32_t)-(int32_t)real.exponent;
        uint64_t rounded =
            real.mantissa == 0 ? 0 : round_shift((uint64_t)real.mantissa * 1000, shift);
        eq_put_number(harness, eq_divide(rounded, 1000, &thousandths));
    }
    char text[4] = {'.', (char)('0' + thousandths / 100), (char)('0' + thousandths / 10 % 10),
                    (char)('0' + thousandths % 10)};
    eq_put_bytes(harness, text, sizeof text);
}
