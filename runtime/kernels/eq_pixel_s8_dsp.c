#include "eq_blocks.h"
#include "eq_dsp.h"

#if EQ_HAS_DSP

/* As eq_blocks_run of eq_blocks_s8_dsp.c, for one pixel: r2 the sum of 256 * a + b, r4 of b; r3 the
 * end of the values, r5 the values.
 */
__asm__(".syntax unified\n"
        ".macro eq_lane weights, values\n"
        " smlad r2, \\weights, \\values, r2\n"
        " sxtb16 \\weights, \\weights\n"
        " smlad r4, \\weights, \\values, r4\n"
        ".endm\n"
        /* Eight values; 56 bytes. */
        ".macro eq_eight_of_one\n"
        " ldm.w r0!, {r6-r9}\n"
        " ldm.w r1!, {r10-r12, lr}\n"
        " eq_lane r6, r10\n"
        " eq_lane r7, r11\n"
        " eq_lane r8, r12\n"
        " eq_lane r9, lr\n"
        ".endm\n"
        ".macro eq_store_two\n"
        " ssat r2, #8, r2\n"
        " ssat r4, #8, r4\n"
        " strb r2, [r6], #1\n"
        " strb r4, [r6], #1\n"
        " str r6, [sp]\n"
        " teq r0, r7\n"
        " bne 1b\n"
        " add sp, #32\n"
        " pop {r4-r11, pc}\n"
        ".endm\n"

        ".section .text.eq_pixel_run, \"ax\", %progbits\n"
        ".balign 4\n"
        ".global eq_pixel_enter\n"
        ".type eq_pixel_enter, %function\n"
        ".thumb_func\n"
        "eq_pixel_enter:\n"
        " lsrs r2, r1, #1\n"
        " rsb r3, r2, #0\n"
        " and r3, r3, #3\n"
        " adr.w r12, 2f + 1\n"
        " it eq\n"
        " adreq.w r12, 3f + 1\n"
        " mov r2, #56\n"
        " mla r3, r3, r2, r12\n"
        " str r3, [r0, #28]\n"
        " tst r1, #1\n"
        " it ne\n"
        " adrne.w r3, 5f + 1\n"
        " str r3, [r0, #24]\n"
        " bx lr\n"
        ".size eq_pixel_enter, . - eq_pixel_enter\n"

        ".global eq_pixel_run\n"
        ".type eq_pixel_run, %function\n"
        ".thumb_func\n"
        "eq_pixel_run:\n"
        " push {r4-r11, lr}\n"
        " ldm r0!, {r4-r11}\n"
        " mov r4, r1\n"
        " push {r4-r11}\n"
        " ldm r0, {r0, r2, r3, r4}\n"
        " strd r3, r4, [sp, #16]\n" /* in the place of the values, which are in registers */
        " mov r5, r8\n"
        " mov r3, r9\n"
        " adds r2, r2, r2\n"

        "1:\n"
        " ldr r2, [r0], #4\n"
        " mov r1, r5\n"
        " movs r4, #0\n"
        " ldr r6, [sp, #24]\n"
        " bx r6\n"
        ".balign 4\n"
        "2:\n"
        " .rept 4\n"
        " eq_eight_of_one\n"
        " .endr\n"
        " teq r1, r3\n"
        " bne 2b\n"
        ".balign 4\n"
        "3:\n"
        " ldr r12, [r0], #4\n"
        " ldm sp, {r6-r11}\n"
        " sub r2, r2, r4\n"
        " bcs 4f\n"
        /* eq_line_s8 */
        " add r4, r12, r4, lsl #8\n"
        " smmulr r2, r2, r10\n"
        " smmulr r4, r4, r10\n"
        " asr r2, r2, r9\n"
        " asr r4, r4, r9\n"
        " eq_store_two\n"
        "4:\n"
        /* eq_exact_s8 */
        " asr r2, r2, #7\n"
        " add r4, r12, r4, lsl #1\n"
        " smmulr r2, r2, r10\n"
        " smmulr r4, r4, r10\n"
        " add r2, r2, r2, asr #31\n"
        " add r4, r4, r4, asr #31\n"
        " smmlar r2, r2, r11, r9\n"
        " smmlar r4, r4, r11, r9\n"
        " eq_store_two\n"
        ".balign 4\n"
        "5:\n" /* a single four, first */
        " ldrd r6, r7, [r0], #8\n"
        " ldm r1!, {r10, r11}\n"
        " eq_lane r6, r10\n"
        " eq_lane r7, r11\n"
        " ldr r6, [sp, #28]\n"
        " bx r6\n"
        ".size eq_pixel_run, . - eq_pixel_run\n"
        ".text\n");

void eq_pixel_enter(eq_blocks_run_t* run, int32_t fours);
void eq_pixel_run(const eq_blocks_run_t* run, int8_t* output);

#else

static void eq_pixel_enter(eq_blocks_run_t* run, int32_t fours) {
    (void)run;
    (void)fours;
}

static void eq_pixel_run(const eq_blocks_run_t* run, int8_t* output) {
    const int is_exact = run->form >> 31 != 0;
    const int32_t* packed = run->packed;
    while (packed != run->end) {
        uint32_t both = (uint32_t)*packed++;
        uint32_t second = 0;
        for (const uint32_t* values = run->values; values != run->values_end; values++) {
            const uint32_t weights = (uint32_t)*packed++;
            both = eq_add_products(both, weights, *values);
            second = eq_add_products(second, eq_even_bytes(weights), *values);
        }
        const int32_t pair[] = {*packed++, run->multiplier, run->multiplier, run->scale,
                                run->scale};
        eq_pair_s8(pair, is_exact, run->amount, both, second, output);
        output += 2;
    }
}

#endif

void eq_pixel_begin(eq_blocks_layer_t* layer, const eq_pixel_t* p, const uint32_t* values) {
    const int32_t size = 2 * p->blocks.fours + 2;
    eq_blocks_set(layer, &p->blocks, size, values, 2);
    layer->pairs.multiplier = p->multiplier;
    layer->pairs.scale = p->scale;
    eq_pixel_enter(&layer->pairs, p->blocks.fours);
    eq_blocks_set_last(layer, size);
}

void eq_pixel_s8_dsp(const eq_blocks_layer_t* layer, int8_t* output) {
    if (layer->channels > 1) {
        eq_pixel_run(&layer->pairs, output);
    }
    if (layer->channels % 2 != 0) {
        int8_t last[2];
        eq_pixel_run(&layer->last, last);
        output[layer->channels - 1] = last[0];
    }
}
