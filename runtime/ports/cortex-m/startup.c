/* From reset to main, and from a fault to a report on the serial port and a reset. Linked with
 * sections.ld, which has the stack at RAM's lower end: one that grows too far leaves RAM and
 * faults, where it would overwrite variables silently otherwise.
 */
#include "board.h"
#include "cortex_m.h"
#include "eq_text.h"

#define STACK_PAINT 0xA5A5A5A5u /* memory.c looks for it */

#define SCB_VTOR EQ_REGISTER(0xE000ED08)
#define SCB_AIRCR EQ_REGISTER(0xE000ED0C)
#define SCB_CCR EQ_REGISTER(0xE000ED14)
#define SCB_CFSR EQ_REGISTER(0xE000ED28)
#define CFSR_NO_FRAME (1u << 20 | 1u << 12 | 1u << 4) /* STKOF, STKERR, MSTKERR */
#define SCB_CPACR EQ_REGISTER(0xE000ED88)
#define MPU_TYPE EQ_REGISTER(0xE000ED90)
#define MPU_CTRL EQ_REGISTER(0xE000ED94)
#define MPU_RNR EQ_REGISTER(0xE000ED98)
#define MPU_RBAR EQ_REGISTER(0xE000ED9C)
#define MPU_RASR EQ_REGISTER(0xE000EDA0)

extern uint32_t _stack_limit[], _stack_top[], _data_load[], _data_start[], _data_end[];
extern uint32_t _bss_start[], _bss_end[];
extern const uint32_t _vectors[];

int main(void);
void eq_reset(void);
void eq_fault(void);
void eq_fault_report(const uint32_t* frame);

/* eq_ticks_start brings its own; a board without SysTick never gets the interrupt. */
void eq_systick(void) __attribute__((weak, alias("eq_fault")));

__attribute__((section(".vectors.stack"), used)) static uint32_t* const initial_stack = _stack_top;

__attribute__((section(".vectors.core"), used)) static const eq_handler_t core_vectors[15] = {
    eq_reset, eq_fault, eq_fault, eq_fault, eq_fault, eq_fault, eq_fault,  eq_fault,
    eq_fault, eq_fault, eq_fault, eq_fault, eq_fault, eq_fault, eq_systick};

__attribute__((noreturn)) static void restart(void) {
    __asm__ volatile("dsb" ::: "memory");
    SCB_AIRCR = 0x05FA0004u; /* SYSRESETREQ */
    for (;;) {
    }
}

/* Where the bus does not fault below RAM, as on QEMU's MPS2 boards. */
static void guard_stack(void) {
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
    __asm__ volatile("msr msplim, %0" ::"r"(_stack_limit));
#elif defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__)
    if (MPU_TYPE != 0) {
        MPU_RNR = 0;
        MPU_RBAR = (uint32_t)(uintptr_t)_stack_limit - 4096;
        MPU_RASR = 1u << 28 | 11u << 1 | 1u; /* no execution, no access, 4 KiB, on */
        MPU_CTRL = 1u << 2 | 1u;             /* the default map for all else */
        __asm__ volatile("dsb\n\tisb" ::: "memory");
    }
#endif
}

__attribute__((noreturn)) void eq_reset(void) {
    uint32_t* stack;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    SCB_CPACR |= 0xFu << 20; /* full access to CP10 and CP11: FPU and MVE; off after reset */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
#if defined(__ARM_FEATURE_MVE)
    SCB_CCR |= 1u << 19 | 1u << 18; /* LOB: low-overhead loops; BP: branch prediction */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
#if !defined(__ARM_ARCH_6M__)
    SCB_VTOR = (uint32_t)(uintptr_t)_vectors; /* where a boot loader is in front of us */
#endif
    guard_stack();

    for (uint32_t *from = _data_load, *to = _data_start; to < _data_end;) {
        *to++ = *from++;
    }
    for (uint32_t* to = _bss_start; to < _bss_end;) {
        *to++ = 0;
    }
    __asm__ volatile("mrs %0, msp" : "=r"(stack));
    for (volatile uint32_t* to = _stack_limit; to < stack;) {
        *to++ = STACK_PAINT;
    }

    main();
    restart();
}

/* --- Faults, and interrupts that nobody expects ------------------------------------------- */

static void put_word(const char* name, uint32_t word) {
    char digits[8];
    eq_board_write(NULL, name, eq_text_length(name));
    for (int i = 7; i >= 0; i--) {
        digits[i] = "0123456789abcdef"[word & 15];
        word >>= 4;
    }
    eq_board_write(NULL, digits, sizeof digits);
}

/* The stack may be what broke: start it anew, and hand over where it was. */
__attribute__((naked)) void eq_fault(void) {
    __asm__ volatile("mrs r0, msp\n\t"
                     "ldr r1, =_stack_top\n\t"
                     "msr msp, r1\n\t"
                     "ldr r1, =eq_fault_report\n\t"
                     "bx r1\n\t"
                     ".ltorg");
}

__attribute__((noreturn, used)) void eq_fault_report(const uint32_t* frame) {
    uint32_t exception;
    bool readable = frame >= _stack_limit && frame + 8 <= _stack_top;
    __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
#if !defined(__ARM_ARCH_6M__)
    if ((SCB_CFSR & CFSR_NO_FRAME) != 0) {
        readable = false;
    }
#endif
    put_word("\r\ne-[Fault: exception ", exception & 0x1FF);
    put_word(" pc ", readable ? frame[6] : 0);
#if !defined(__ARM_ARCH_6M__)
    put_word(" cfsr ", SCB_CFSR);
#endif
    eq_board_write(NULL, "]\r\n", 3);
    for (volatile uint32_t i = 0; i < 1000000; i++) { /* until the UART has sent it all */
    }
    restart();
}
