// SPDX-License-Identifier: Apache-2.0
package edgeq

/**
 * Real numbers to quantized ones and back, with TFLite's own rounding:
 *
 *     stored = clamp(round(real / scale) + zeroPoint)
 *     real   = (stored - zeroPoint) * scale
 *
 * The quotient is a Float, and halves round away from zero, which Math.round() does not do for
 * negative ones. Infinities clamp, NaN becomes the zero point. The bits are those of
 * edgeq_quantize.h and of TFLite on the host.
 *
 * A uint8 is kept in a Byte, as LiteRT's buffers do.
 */
object Quantize {
    fun int8(real: Float, scale: Float, zeroPoint: Int): Byte =
        clamped(real, scale, zeroPoint, -128, 127).toByte()

    fun uint8(real: Float, scale: Float, zeroPoint: Int): Byte =
        clamped(real, scale, zeroPoint, 0, 255).toByte()

    fun int16(real: Float, scale: Float, zeroPoint: Int): Short =
        clamped(real, scale, zeroPoint, -32768, 32767).toShort()

    fun fromInt8(stored: Byte, scale: Float, zeroPoint: Int): Float =
        (stored.toInt() - zeroPoint).toFloat() * scale

    fun fromUint8(stored: Byte, scale: Float, zeroPoint: Int): Float =
        ((stored.toInt() and 0xff) - zeroPoint).toFloat() * scale

    fun fromInt16(stored: Short, scale: Float, zeroPoint: Int): Float =
        (stored.toInt() - zeroPoint).toFloat() * scale

    private fun clamped(real: Float, scale: Float, zeroPoint: Int, low: Int, high: Int): Int {
        val quotient = real / scale
        if (quotient.isNaN()) return zeroPoint
        if (quotient >= (high - zeroPoint).toFloat()) return high
        if (quotient <= (low - zeroPoint).toFloat()) return low
        // Under 2^17 here: toInt() truncates exactly, and what is left over is exact too.
        val whole = quotient.toInt()
        val fraction = quotient - whole.toFloat()
        val step = if (fraction >= 0.5f) 1 else if (fraction <= -0.5f) -1 else 0
        return whole + step + zeroPoint
    }
}
