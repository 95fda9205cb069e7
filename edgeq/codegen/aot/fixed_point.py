"""gemmlowp's fixed-point functions, for the tables that the build computes.

Numbers are Python ints that hold int32 values. Qn has n bits above the binary point.
"""

from __future__ import annotations

INT32_MAX = (1 << 31) - 1
INT32_MIN = -(1 << 31)


def wrap(value: int) -> int:
    """The low 32 bits of `value` as an int32."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def high_mul(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul."""
    if a == b == INT32_MIN:
        return INT32_MAX
    return (a * b + (1 << 30)) >> 31


def divide_by_pot(x: int, exponent: int) -> int:
    """RoundingDivideByPOT."""
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + ((x & mask) > threshold)


def multiply(x: int, multiplier: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier for int32."""
    if shift >= 0:
        return high_mul(wrap(x << shift), multiplier)
    return divide_by_pot(high_mul(x, multiplier), -shift)


def saturating_shift(x: int, exponent: int) -> int:
    """SaturatingRoundingMultiplyByPOT; a negative exponent divides."""
    if exponent <= 0:
        return divide_by_pot(x, -exponent)
    threshold = (1 << (31 - exponent)) - 1
    if x > threshold:
        return INT32_MAX
    if x < -threshold:
        return INT32_MIN
    return x << exponent


_EXP_FACTORS = {
    -2: 1672461947,
    -1: 1302514674,
    0: 790015084,
    1: 290630308,
    2: 39332535,
    3: 720401,
    4: 242,
}
"""exp(-2^k) in Q0."""


def exp_on_negative(x: int, integer_bits: int) -> int:
    """exp(x) in Q0 for x <= 0 in Q`integer_bits`. exp_on_negative_values."""
    if x == 0:
        return INT32_MAX
    fractional_bits = 31 - integer_bits
    quarter = 1 << (fractional_bits - 2)
    remainder_of_quarter = (x & (quarter - 1)) - quarter
    result = _exp_near_minus_an_eighth(saturating_shift(remainder_of_quarter, integer_bits))
    steps = remainder_of_quarter - x
    for exponent, factor in _EXP_FACTORS.items():
        if integer_bits > exponent and steps & (1 << (fractional_bits + exponent)):
            result = high_mul(result, factor)
    if integer_bits > 5 and x < -(1 << (36 - integer_bits)):
        return 0
    return result


def _exp_near_minus_an_eighth(a: int) -> int:
    """exp(a) in Q0 for a in -1/4 .. 0, by a Taylor series around -1/8."""
    at_an_eighth, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = high_mul(x, x)
    x3 = high_mul(x2, x)
    x4_over_4 = divide_by_pot(high_mul(x2, x2), 2)
    higher = divide_by_pot(high_mul(x4_over_4 + x3, third) + x2, 1)
    return wrap(at_an_eighth + high_mul(at_an_eighth, x + higher))


def _newton(a: int) -> int:
    """2 / (1 + a) in Q2 for a in Q0, 0 .. 1."""
    half_denominator = (a + INT32_MAX + 1) // 2
    x = 1515870810 + high_mul(half_denominator, -1010580540)
    for _ in range(3):
        error = (1 << 29) - high_mul(half_denominator, x)
        x = wrap(x + saturating_shift(high_mul(x, error), 2))
    return x


def logistic(x: int, integer_bits: int) -> int:
    """1 / (1 + exp(-x)) in Q0."""
    if x == 0:
        return 1 << 30
    positive = saturating_shift(_newton(exp_on_negative(-abs(x), integer_bits)), 1)
    return positive if x > 0 else INT32_MAX - positive


def tanh(x: int, integer_bits: int) -> int:
    """tanh(x) in Q0."""
    if x == 0:
        return 0
    # Doubling moves the point, not the bits.
    decayed = exp_on_negative(-abs(x), integer_bits + 1)
    magnitude = saturating_shift(_newton(decayed) - (1 << 29), 2)
    return magnitude if x > 0 else -magnitude
