#include "eq_clock.h"

#include "eq_text.h"

/* A counter of 1 MHz beside a processor of 1 GHz moves within these many readings. */
#define READINGS 100000

void eq_clock_start(eq_harness_t* harness) {
    uint8_t bits = harness->config->port->tick_bits;
    uint64_t start;
    harness->tick_mask = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    harness->tick_total = 0;
    harness->tick_last = start = eq_clock_now(harness);

    harness->ticks_move = false;
    for (uint32_t i = 0; i < READINGS && !harness->ticks_move; i++) {
        harness->ticks_move = eq_clock_between(harness, start, eq_clock_now(harness)) != 0;
    }

    harness->tick_overhead = UINT32_MAX;
    for (int i = 0; i < 4; i++) {
        uint64_t between;
        eq_clock_align(harness);
        start = eq_clock_now(harness);
        between = eq_clock_between(harness, start, eq_clock_now(harness));
        if (between < harness->tick_overhead) {
            harness->tick_overhead = (uint32_t)between;
        }
    }
}

void eq_clock_sample(eq_harness_t* harness) {
    uint64_t now = eq_clock_now(harness);
    harness->tick_total += eq_clock_between(harness, harness->tick_last, now);
    harness->tick_last = now;
}

uint32_t eq_clock_us(eq_harness_t* harness) {
    uint32_t hz = harness->config->port->tick_hz;
    uint32_t ticks;
    uint32_t unused;
    uint64_t seconds;
    eq_clock_sample(harness);
    seconds = eq_divide(harness->tick_total, hz, &ticks);
    return (uint32_t)(seconds * 1000000 + eq_divide((uint64_t)ticks * 1000000, hz, &unused));
}
