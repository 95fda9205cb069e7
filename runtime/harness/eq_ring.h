/* Bytes from an interrupt to the main program. One writer, one reader, one core.
 *
 * A full ring refuses all bytes from then on until the reader has taken what is in it and was told
 * of the loss. So the reader knows where bytes are missing, and never sees two halves as one line.
 */
#ifndef EQ_RING_H_
#define EQ_RING_H_

#include "edgeq_harness.h"

/* A power of two. The host waits for each answer, so this need only cover the time in which the
 * main program writes or computes while a rude host sends on. */
#ifndef EQ_RING_SIZE
#define EQ_RING_SIZE 256u
#endif

typedef struct {
    volatile uint8_t bytes[EQ_RING_SIZE];
    volatile uint32_t written; /* only the interrupt changes it */
    volatile uint32_t taken;   /* only the main program changes it */
    volatile bool lost;        /* the interrupt sets it, the main program clears it */
} eq_ring_t;

static inline bool eq_ring_is_empty(const eq_ring_t* ring) {
    return ring->written == ring->taken && !ring->lost;
}

/* In the interrupt: the hardware reported a damaged or lost byte. */
static inline void eq_ring_lose(eq_ring_t* ring) {
    ring->lost = true;
}

/* In the interrupt. */
static inline void eq_ring_put(eq_ring_t* ring, uint8_t byte) {
    uint32_t written = ring->written;
    if (ring->lost) {
        return;
    }
    if (written - ring->taken >= EQ_RING_SIZE) {
        ring->lost = true;
        return;
    }
    ring->bytes[written % EQ_RING_SIZE] = byte;
    ring->written = written + 1;
}

/* In the main program: a byte, EQ_PORT_EMPTY or EQ_PORT_LOST, as a port's `read` returns it. */
static inline int eq_ring_take(eq_ring_t* ring) {
    uint32_t taken = ring->taken;
    /* `lost` before `written`: once it is set nothing more is written until it is cleared. */
    bool lost = ring->lost;
    if (taken != ring->written) {
        int byte = ring->bytes[taken % EQ_RING_SIZE];
        ring->taken = taken + 1;
        return byte;
    }
    if (lost) {
        ring->lost = false;
        return EQ_PORT_LOST;
    }
    return EQ_PORT_EMPTY;
}

#endif /* EQ_RING_H_ */
