#include "eq_blocks.h"
#include "eq_dsp.h"

#if EQ_HAS_DSP

/* r0 stream, r1 values; r2, r3 sums of 256 * a + b at both pixels, r4, r5 of b; r6 - r9 weights,
 * r10 - r12, lr values. On the stack: the first eight words of eq_blocks_run_t. The flags V and
 * C, which nothing in the loops changes, say the form; see eq_blocks_run_t.
 */
__asm__(".syntax unified\n"
        /* A word of weights of two channels, with a word of values of each of two pixels. */
        ".macro eq_lanes weights, first, second\n"
        " smlad r2, \\weights, \\first, r2\n"
        " smlad r3, \\weights, \\second, r3\n"
        " sxtb16 \\weights, \\weights\n"
        " smlad r4, \\weights, \\first, r4\n"
        " smlad r5, \\weights, \\second, r5\n"
        ".endm\n"
        /* Eight values; 92 bytes. */
        ".macro eq_eight\n"
        " ldm.w r0!, {r6-r9}\n"
        " ldm.w r1!, {r10-r12, lr}\n"
        " eq_lanes r6, r10, r11\n"
        " eq_lanes r7, r12, lr\n"
        " ldm.w r1!, {r10-r12, lr}\n"
        " eq_lanes r8, r10, r11\n"
        " eq_lanes r9, r12, lr\n"
        ".endm\n"
        /* r2 - r5, limited, to the output r6, and on to the next two channels. */
        ".macro eq_store step, shift\n"
        " ssat r2, #8, r2 \\shift\n"
        " ssat r3, #8, r3 \\shift\n"
        " ssat r4, #8, r4 \\shift\n"
        " ssat r5, #8, r5 \\shift\n"
        " strb r3, [r6, \\step]\n"
        " strb r2, [r6], #1\n"
        " strb r5, [r6, \\step]\n"
        " strb r4, [r6], #1\n"
        " str r6, [sp]\n"
        " teq r0, r7\n"
        " bne 1b\n"
        " add sp, #32\n"
        " pop {r4-r11, pc}\n"
        ".endm\n"
        /* The sums of eq_line_s8, times the multipliers. */
        ".macro eq_line\n"
        " sub r2, r2, r4\n"
        " sub r3, r3, r5\n"
        " add r4, r7, r4, lsl #8\n"
        " add r5, r7, r5, lsl #8\n"
        " ldm sp, {r6, r7, r10, r11}\n"
        " smmulr r2, r2, r8\n"
        " smmulr r3, r3, r8\n"
        " smmulr r4, r4, r9\n"
        " smmulr r5, r5, r9\n"
        ".endm\n"

        ".section .text.eq_blocks_run, \"ax\", %progbits\n"
        ".balign 4\n"
        /* Of the four eights in the loop the first are skipped. */
        ".global eq_blocks_enter\n"
        ".type eq_blocks_enter, %function\n"
        ".thumb_func\n"
        "eq_blocks_enter:\n"
        " lsrs r2, r1, #1\n"
        " rsb r3, r2, #0\n"
        " and r3, r3, #3\n"
        " adr.w r12, 2f + 1\n"
        " it eq\n"
        " adreq.w r12, 3f + 1\n"
        " mov r2, #92\n"
        " mla r3, r3, r2, r12\n"
        " str r3, [r0, #28]\n"
        " tst r1, #1\n"
        " it ne\n"
        " adrne.w r3, 5f + 1\n"
        " str r3, [r0, #24]\n"
        " bx lr\n"
        ".size eq_blocks_enter, . - eq_blocks_enter\n"

        ".global eq_blocks_run\n"
        ".type eq_blocks_run, %function\n"
        ".thumb_func\n"
        "eq_blocks_run:\n"
        " push {r4-r11, lr}\n"
        " ldm r0!, {r4-r11}\n"
        " mov r4, r1\n"
        " mov r6, r2\n"
        " push {r4-r11}\n"
        " ldrd r0, r3, [r0]\n"
        " adds r3, r3, r3\n"

        "1:\n"
        " ldr r2, [r0], #4\n"
        " ldr r1, [sp, #16]\n"
        " mov r3, r2\n"
        " movs r4, #0\n"
        " movs r5, #0\n"
        " ldr r6, [sp, #24]\n"
        " bx r6\n"
        ".balign 4\n"
        "2:\n"
        " .rept 4\n"
        " eq_eight\n"
        " .endr\n"
        " ldr r6, [sp, #20]\n"
        " teq r1, r6\n"
        " bne 2b\n"
        ".balign 4\n"
        "3:\n"
        " ldm r0!, {r7-r9}\n"
        " bvs 4f\n"
        " eq_line\n"
        " eq_store r10, \", asr #12\"\n"
        "4:\n"
        " bcs 6f\n"
        " eq_line\n"
        " asr r2, r2, r11\n"
        " asr r3, r3, r11\n"
        " asr r4, r4, r11\n"
        " asr r5, r5, r11\n"
        " eq_store r10\n"
        "6:\n"
        /* eq_exact_s8 */
        " ldm r0!, {r10, r11}\n"
        " sub r2, r2, r4\n"
        " sub r3, r3, r5\n"
        " asr r2, r2, #7\n"
        " asr r3, r3, #7\n"
        " add r4, r7, r4, lsl #1\n"
        " add r5, r7, r5, lsl #1\n"
        " smmulr r2, r2, r8\n"
        " smmulr r3, r3, r8\n"
        " smmulr r4, r4, r9\n"
        " smmulr r5, r5, r9\n"
        " add r2, r2, r2, asr #31\n"
        " add r3, r3, r3, asr #31\n"
        " add r4, r4, r4, asr #31\n"
        " add r5, r5, r5, asr #31\n"
        " ldm sp, {r6-r9}\n"
        " smmlar r2, r2, r10, r9\n"
        " smmlar r3, r3, r10, r9\n"
        " smmlar r4, r4, r11, r9\n"
        " smmlar r5, r5, r11, r9\n"
        " eq_store r8\n"
        ".balign 4\n"
        "5:\n" /* a single four, first */
        " ldrd r6, r7, [r0], #8\n"
        " ldm r1!, {r10-r12, lr}\n"
        " eq_lanes r6, r10, r11\n"
        " eq_lanes r7, r12, lr\n"
        " ldr r6, [sp, #28]\n"
        " bx r6\n"
        ".size eq_blocks_run, . - eq_blocks_run\n"
        ".text\n");

void eq_blocks_enter(eq_blocks_run_t* run, int32_t fours);
void eq_blocks_run(const eq_blocks_run_t* run, int8_t* output, int32_t step);

#else

static void eq_blocks_enter(eq_blocks_run_t* run, int32_t fours) {
    (void)run;
    (void)fours;
}

static void eq_blocks_run(const eq_blocks_run_t* run, int8_t* output, int32_t step) {
    const int is_exact = run->form >> 31 != 0;
    const int32_t* packed = run->packed;
    while (packed != run->end) {
        const uint32_t bias = (uint32_t)*packed++;
        uint32_t both[2] = {bias, bias};
        uint32_t second[2] = {0, 0};
        for (const uint32_t* values = run->values; values != run->values_end; values += 2) {
            const uint32_t weights = (uint32_t)*packed++;
            for (int32_t i = 0; i < 2; i++) {
                both[i] = eq_add_products(both[i], weights, values[i]);
                second[i] = eq_add_products(second[i], eq_even_bytes(weights), values[i]);
            }
        }
        for (int32_t i = 0; i < 2; i++) {
            eq_pair_s8(packed, is_exact, run->amount, both[i], second[i], output + i * step);
        }
        packed += is_exact ? 5 : 3;
        output += 2;
    }
}

#endif

void eq_blocks_begin(eq_blocks_layer_t* layer, const eq_blocks_t* p, const uint32_t* values) {
    const int32_t size = 2 * p->fours + (p->is_exact ? 6 : 4);
    eq_blocks_set(layer, p, size, values, 4);
    eq_blocks_enter(&layer->pairs, p->fours);
    eq_blocks_set_last(layer, size);
}

void eq_blocks_s8_dsp(const eq_blocks_layer_t* layer, int8_t* output, int32_t step) {
    if (layer->channels > 1) {
        eq_blocks_run(&layer->pairs, output, step);
    }
    if (layer->channels % 2 != 0) {
        /* What is next to the last channel is the next pixel's. */
        int8_t last[4];
        int8_t* const to = output + layer->channels - 1;
        eq_blocks_run(&layer->last, last, 2);
        to[step] = last[2];
        to[0] = last[0];
    }
}
