/* Time from a counter that wraps. */
#ifndef EQ_CLOCK_H_
#define EQ_CLOCK_H_

#include "edgeq_harness.h"

/* Begins to count, and finds out whether the counter counts and what reading it costs. */
void eq_clock_start(eq_harness_t* harness);

/* Adds what has passed to tick_total. To be called at least once in 2^tick_bits ticks. */
void eq_clock_sample(eq_harness_t* harness);

/* Microseconds since start, modulo 2^32. */
uint32_t eq_clock_us(eq_harness_t* harness);

static inline uint64_t eq_clock_now(const eq_harness_t* harness) {
    const eq_port_t* port = harness->config->port;
    return port->ticks(port->context);
}

/* Right across one wrap. */
static inline uint64_t eq_clock_between(const eq_harness_t* harness, uint64_t start, uint64_t end) {
    return (end - start) & harness->tick_mask;
}

static inline void eq_clock_align(const eq_harness_t* harness) {
    const eq_port_t* port = harness->config->port;
    if (port->align_ticks != NULL) {
        port->align_ticks(port->context);
    }
}

#endif /* EQ_CLOCK_H_ */
