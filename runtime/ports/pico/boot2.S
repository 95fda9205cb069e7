/* The RP2040's second boot stage: the boot ROM copies the first 256 bytes of flash to RAM, checks
 * their CRC and runs them. This one lets the flash be read as memory by the plain serial read
 * command 0x03, which every flash chip knows, one bit at a time and at a quarter of clk_sys; then
 * starts the program behind it. Slower than four bits at a time, where the 16 KiB cache misses.
 *
 * The last word is the CRC-32 (polynomial 0x04C11DB7, start 0xFFFFFFFF, nothing reflected, no final
 * xor) of the 252 bytes before it; tests/harness checks it.
 */
    .syntax unified
    .cpu cortex-m0plus
    .thumb

    .section .boot2, "ax"
    .balign 4
boot2:
    ldr r3, =0x18000000 /* XIP_SSI_BASE */
    movs r1, #0
    str r1, [r3, #0x08] /* SSIENR: off while it is changed */
    movs r1, #4
    str r1, [r3, #0x14] /* BAUDR: clk_sys / 4 */
    ldr r1, =0x001F0300 /* CTRLR0: 32 bits a frame, send then receive, standard SPI */
    str r1, [r3, #0x00]
    ldr r1, =0x03000218 /* SPI_CTRLR0: command 0x03 of 8 bits, address of 24 bits */
    ldr r0, =0x180000F4
    str r1, [r0]
    movs r1, #0
    str r1, [r3, #0x04] /* CTRLR1: one frame a read */
    movs r1, #1
    str r1, [r3, #0x08] /* SSIENR: on */

    ldr r0, =0x10000100 /* the vectors */
    ldr r1, =0xE000ED08 /* VTOR */
    str r0, [r1]
    ldmia r0, {r0, r1}
    msr msp, r0
    bx r1
    .balign 4
    .ltorg

    .org boot2 + 252
    .word 0x42136556
