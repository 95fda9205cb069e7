/* What all Cortex-M boards share: registers of the core, sleeping, ticks, sizes. */
#ifndef EQ_CORTEX_M_H_
#define EQ_CORTEX_M_H_

#include "edgeq_harness.h"
#include "eq_ring.h"

#ifndef EQ_REGISTER /* tests have their own registers */
#define EQ_REGISTER(address) (*(volatile uint32_t*)(uintptr_t)(address))
#endif

/* Entries of the vector table from interrupt 0 on. A board defines
 *   EQ_INTERRUPTS = {[37] = uart_interrupt};
 * and enables none that it does not name. */
typedef void (*eq_handler_t)(void);
#define EQ_INTERRUPTS                                                                              \
    const eq_handler_t eq_interrupts[] __attribute__((section(".vectors.interrupts"), used))

static inline void eq_interrupt_enable(uint32_t number) {
    EQ_REGISTER(0xE000E100u + 4 * (number / 32)) = 1u << number % 32; /* NVIC_ISER */
}

#if defined(__arm__)
static inline void eq_interrupts_off(void) {
    __asm__ volatile("cpsid i" ::: "memory");
}

static inline void eq_interrupts_on(void) {
    __asm__ volatile("cpsie i" ::: "memory");
}

/* Sleeps unless something is in the ring. With interrupts masked, so that none can put a byte
 * between the question and the sleep; a pending one ends the sleep all the same. */
static inline void eq_sleep_if_empty(const eq_ring_t* ring) {
    eq_interrupts_off();
    if (eq_ring_is_empty(ring)) {
        __asm__ volatile("dsb\n\twfi" ::: "memory");
    }
    eq_interrupts_on();
}
#else
void eq_interrupts_off(void);
void eq_interrupts_on(void);
#endif

/* Fills in the tick_ fields: DWT's cycle counter where the core has one and it counts, else
 * SysTick, whose wraps an interrupt counts. `clock_hz` is the processor's. The cycle counter
 * stops while a core sleeps, so `idle` is set to null with it. */
void eq_ticks_start(eq_port_t* port, uint32_t clock_hz);

/* eq_port_t's `memory`: sizes from the linker script, the stack's mark from its paint. */
void eq_memory_from_linker(void* context, eq_memory_t* memory);

#endif /* EQ_CORTEX_M_H_ */
