#include "cortex_m.h"

/* --- DWT: one tick a cycle, 32 bits ------------------------------------------------------- */

#if !defined(__ARM_ARCH_6M__) /* whose DWT has no cycle counter */

#define DEMCR EQ_REGISTER(0xE000EDFC)
#define DWT_CTRL EQ_REGISTER(0xE0001000)
#define DWT_CYCCNT EQ_REGISTER(0xE0001004)
#define DWT_LAR EQ_REGISTER(0xE0001FB0)

static uint64_t dwt_ticks(void* context) {
    (void)context;
    return DWT_CYCCNT;
}

/* Emulators have the register, perhaps, but no counter behind it. */
static bool dwt_start(void) {
    uint32_t start;
    DEMCR |= 1u << 24;    /* TRCENA */
    DWT_LAR = 0xC5ACCE55; /* the M7 has a lock; the others ignore this */
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1u; /* CYCCNTENA */
    start = DWT_CYCCNT;
    for (volatile uint32_t i = 0; i < 16; i++) {
    }
    return DWT_CYCCNT != start;
}

#endif

/* --- SysTick: 24 bits, down, and an interrupt at each wrap -------------------------------- */

#define SYST_CSR EQ_REGISTER(0xE000E010)
#define SYST_RVR EQ_REGISTER(0xE000E014)
#define SYST_CVR EQ_REGISTER(0xE000E018)
#define SCB_ICSR EQ_REGISTER(0xE000ED04)
#define SYST_TOP 0xFFFFFFu
#define ICSR_PENDSTSET (1u << 26)

static volatile uint32_t wraps;
static uint64_t aligned; /* what the alignments so far have taken away */

void eq_systick(void);

void eq_systick(void) {
    wraps++;
}

static uint64_t systick_count(void) {
    uint32_t before, now, pending;
    do {
        before = wraps;
        now = SYST_CVR;
        pending = SCB_ICSR & ICSR_PENDSTSET;
        /* At 0 the interrupt has come, but the counter has not yet gone back to the top. */
    } while (before != wraps || now == 0);
    if (pending != 0 && now > SYST_TOP / 2) {
        before++; /* wrapped, and the interrupt is still to come: it is masked */
    }
    return ((uint64_t)before << 24) + (SYST_TOP - now);
}

static uint64_t systick_ticks(void* context) {
    (void)context;
    return systick_count() + aligned;
}

/* Writing the counter makes it 0 and restarts the tick; the next one loads the top. */
static void systick_align(void* context) {
    uint64_t before;
    (void)context;
    eq_interrupts_off();
    before = systick_count();
    SYST_CVR = 0;
    aligned += before - systick_count();
    eq_interrupts_on();
}

/* ------------------------------------------------------------------------------------------ */

void eq_ticks_start(eq_port_t* port, uint32_t clock_hz) {
    port->tick_unit = "cycles";
    port->tick_hz = clock_hz;
#if !defined(__ARM_ARCH_6M__)
    if (dwt_start()) {
        port->tick_source = "dwt";
        port->tick_bits = 32;
        port->ticks = dwt_ticks;
        port->align_ticks = NULL;
        port->idle = NULL;
        return;
    }
#endif
    SYST_RVR = SYST_TOP;
    SYST_CVR = 0;
    SYST_CSR = 7; /* processor clock, interrupt, on */
    port->tick_source = "systick";
    port->tick_bits = 56;
    port->ticks = systick_ticks;
    port->align_ticks = systick_align;
}
