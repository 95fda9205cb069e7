#include "eq_dsp.h"
#include "eq_lines.h"

#include <string.h>

#if EQ_HAS_DSP

/* r1 the next two neighbours, r2 output; r4 - r9 weights (w0, w1), (w1, w2) of three rows; r10, r11
 * sums. r12, lr, r3, r0 hold neighbours of three lines; each step loads the next ones and moves on
 * by one register, so that four steps come round. On the stack: eq_lines_t, but where the line
 * begins for `count`, and whether an output is left for `weights`.
 */
__asm__(".syntax unified\n"
        /* One row of the kernel: two outputs, or the first of them. */
        ".macro eq_row by, a, t, w, v\n"
        " smlad r10, \\a, \\w, r10\n"
        " smlabt r10, \\t, \\v, r10\n"
        " .if \\by == 1\n"
        " smlatb r11, \\a, \\w, r11\n"
        " smlad r11, \\t, \\v, r11\n"
        " .endif\n"
        ".endm\n"
        /* Three rows. */
        ".macro eq_rows by, a, b, c, t\n"
        " ldr.w \\t, [r1]\n"
        " eq_row \\by, \\a, \\t, r4, r5\n"
        " ldr.w \\a, [r1, #16]\n"
        " eq_row \\by, \\b, \\a, r6, r7\n"
        " ldr.w \\b, [r1, #32]\n"
        " eq_row \\by, \\c, \\b, r8, r9\n"
        " ldr.w \\c, [sp, #8]\n"
        " smmulr r10, r10, \\c\n"
        ".endm\n"
        ".macro eq_step by, shift, a, b, c, t\n"
        " .if \\by == 1\n"
        " ldrd r10, r11, [sp]\n"
        " .else\n"
        " ldr r10, [sp]\n"
        " .endif\n"
        " eq_rows \\by, \\a, \\b, \\c, \\t\n"
        " ssat r10, #8, r10, asr #\\shift\n"
        " .if \\by == 1\n"
        " smmulr r11, r11, \\c\n"
        " ssat r11, #8, r11, asr #\\shift\n"
        " .endif\n"
        " strb r10, [r2]\n"
        " ldrd \\c, r10, [sp, #12]\n"
        " .if \\by == 1\n"
        " strb r11, [r2, \\c]\n"
        " add r2, r2, \\c, lsl #1\n"
        " .else\n"
        " add r2, r2, \\c\n"
        " .endif\n"
        " add r1, r1, r10\n"
        ".endm\n"
        /* The first neighbours of a line; 24 bytes. */
        ".macro eq_begin a, b, c, to\n"
        " ldr.w \\a, [r1]\n"
        " ldr.w \\b, [r1, #16]\n"
        " ldr.w \\c, [r1, #32]\n"
        " ldr.w r10, [sp, #16]\n"
        " add.w r1, r1, r10\n"
        " b.w \\to\n"
        ".endm\n"

        ".macro eq_lines name, by, shift\n"
        ".section .text.\\name, \"ax\", %progbits\n"
        ".balign 4\n"
        ".global \\name\n"
        ".type \\name, %function\n"
        ".thumb_func\n"
        "\\name:\n"
        " push {r4-r11, lr}\n"
        " ldm r0!, {r4-r11}\n"
        " ldm r0, {r0-r3}\n"
        " push {r0-r3}\n"
        " push {r4-r11}\n"
        " .if \\by == 1\n"
        " and r0, r2, #1\n"
        " str r0, [sp, #44]\n"
        " lsr r2, r2, #1\n"
        " .endif\n"
        " cmp r2, #0\n"
        " rsb r0, r2, #0\n"
        " and r0, r0, #3\n"
        " it eq\n"
        " moveq r0, #4\n"
        " mov r1, #24\n"
        " adr.w r2, 2f + 1\n"
        " mla r0, r0, r1, r2\n"
        " str r0, [sp, #40]\n"
        " ldm r3, {r5, r7, r9}\n"
        " sxtb16 r4, r5\n"
        " sxtb16 r5, r5, ror #8\n"
        " sxtb16 r6, r7\n"
        " sxtb16 r7, r7, ror #8\n"
        " sxtb16 r8, r9\n"
        " sxtb16 r9, r9, ror #8\n"
        "1:\n"
        " ldrd r1, r2, [sp, #24]\n"
        " ldr r10, [sp, #40]\n"
        " bx r10\n"
        ".balign 4\n"
        "2:\n"
        " eq_begin r12, lr, r3, 3f\n"
        " eq_begin r0, r12, lr, 4f\n"
        " eq_begin r3, r0, r12, 5f\n"
        " eq_begin lr, r3, r0, 6f\n"
        " eq_begin r12, lr, r3, 7f\n"
        "3:\n"
        " eq_step \\by, \\shift, r12, lr, r3, r0\n"
        "4:\n"
        " eq_step \\by, \\shift, r0, r12, lr, r3\n"
        "5:\n"
        " eq_step \\by, \\shift, r3, r0, r12, lr\n"
        "6:\n"
        " eq_step \\by, \\shift, lr, r3, r0, r12\n"
        " ldr r11, [sp, #20]\n"
        " cmp r1, r11\n"
        " bne 3b\n"
        "7:\n"
        " .if \\by == 1\n"
        " ldr r0, [sp, #44]\n"
        " cbz r0, 8f\n"
        " ldr r10, [sp]\n"
        " eq_rows 2, r12, lr, r3, r0\n"
        " ssat r10, #8, r10, asr #\\shift\n"
        " strb r10, [r2]\n"
        "8:\n"
        " .endif\n"
        /* The next line. */
        " ldrd r11, r1, [sp, #20]\n"
        " ldrd r2, r0, [sp, #28]\n"
        " ldr r3, [sp, #36]\n"
        " add r11, r11, #16 * \\by\n"
        " add r1, r1, #16 * \\by\n"
        " add r2, r2, r3\n"
        " strd r11, r1, [sp, #20]\n"
        " str r2, [sp, #28]\n"
        " cmp r1, r0\n"
        " bne 1b\n"
        " add sp, #48\n"
        " pop {r4-r11, pc}\n"
        ".size \\name, . - \\name\n"
        ".endm\n"

        " eq_lines eq_lines_by_1_shift_8, 1, 8\n"
        " eq_lines eq_lines_by_1_shift_10, 1, 10\n"
        " eq_lines eq_lines_by_1_shift_12, 1, 12\n"
        " eq_lines eq_lines_by_2_shift_8, 2, 8\n"
        " eq_lines eq_lines_by_2_shift_10, 2, 10\n"
        " eq_lines eq_lines_by_2_shift_12, 2, 12\n"
        ".text\n");

#else

static int32_t weight(const eq_lines_t* p, int32_t row, int32_t column) {
    const uint32_t bytes = (uint32_t)p->weights[row];
    return (int8_t)(bytes >> (column == 0 ? 0 : 8 * column + 8));
}

/* What is at `column` of a line, from two neighbours. */
static int32_t value(const eq_lines_t* p, const uint8_t* line, int32_t column) {
    uint32_t lanes;
    memcpy(&lanes, line + column / 2 * p->pair_step, sizeof lanes);
    return (int16_t)(column % 2 == 0 ? lanes : lanes >> 16);
}

static void lines(const eq_lines_t* p, int32_t by, int32_t shift) {
    int8_t* output = p->output;
    for (const uint8_t* line = p->line; line != p->stop; line += by * EQ_LINE_BYTES) {
        for (int32_t i = 0; i < p->count; i++) {
            uint32_t sum = (uint32_t)p->bias;
            for (int32_t row = 0; row < 3; row++) {
                for (int32_t column = 0; column < 3; column++) {
                    const int32_t x = value(p, line + row * EQ_LINE_BYTES, by * i + column);
                    sum += (uint32_t)(weight(p, row, column) * x);
                }
            }
            output[i * p->output_step] = eq_line_s8((int32_t)sum, p->multiplier, shift);
        }
        output += p->output_line;
    }
}

void eq_lines_by_1_shift_8(const eq_lines_t* p) {
    lines(p, 1, 8);
}

void eq_lines_by_1_shift_10(const eq_lines_t* p) {
    lines(p, 1, 10);
}

void eq_lines_by_1_shift_12(const eq_lines_t* p) {
    lines(p, 1, 12);
}

void eq_lines_by_2_shift_8(const eq_lines_t* p) {
    lines(p, 2, 8);
}

void eq_lines_by_2_shift_10(const eq_lines_t* p) {
    lines(p, 2, 10);
}

void eq_lines_by_2_shift_12(const eq_lines_t* p) {
    lines(p, 2, 12);
}

#endif
