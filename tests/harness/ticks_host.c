/* ports/cortex-m/ticks.c on registers that this file makes up: a SysTick, or a DWT, in a time that
 * goes on at every access, so that a wrap falls between any two of them. The interrupt comes at
 * the access after the wrap, or when interrupts are switched on again.
 *
 *   ticks_host systick|dwt|none SEED
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile uint32_t* fake_register(uint32_t address);
#define EQ_REGISTER(address) (*fake_register(address))

#include "ticks.c"

#define TOP 0xFFFFFFu

static uint64_t now;
static bool has_dwt, running, masked, pending;
static uint32_t seed;
static uint64_t zero_at; /* when the counter is 0 next */
static volatile uint32_t cvr, csr, rvr, icsr, cyccnt, other;
static uint32_t shown_cvr, shown_cyccnt;
static uint64_t dwt_zero;

static uint32_t random_number(void) {
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static void pass(uint64_t ticks) {
    now += ticks;
    while (running && zero_at <= now) {
        zero_at += TOP + 1ull;
        pending = true;
    }
}

static void deliver(void) {
    if (pending && !masked) {
        pending = false;
        eq_systick();
    }
}

void eq_interrupts_off(void) {
    deliver();
    masked = true;
}

void eq_interrupts_on(void) {
    masked = false;
    deliver();
}

/* What was written since the last access. */
static void notice(void) {
    if (running && cvr != shown_cvr) {
        zero_at = now + TOP + 1; /* it is 0 for one tick, without an interrupt */
        cvr = shown_cvr = 0;
    }
    if (!running && (csr & 1) != 0) {
        running = true;
        zero_at = now + TOP;
        shown_cvr = cvr;
    }
    if (cyccnt != shown_cyccnt) {
        dwt_zero = now;
        shown_cyccnt = cyccnt;
    }
}

static volatile uint32_t* fake_register(uint32_t address) {
    notice();
    deliver();
    pass(random_number() % 3 == 0 ? random_number() % 6 : 0);
    switch (address) {
    case 0xE000E010:
        return &csr;
    case 0xE000E014:
        return &rvr;
    case 0xE000E018:
        if (running) {
            uint64_t left = (zero_at - now) % (TOP + 1ull);
            cvr = shown_cvr = (uint32_t)left;
        }
        return &cvr;
    case 0xE000ED04:
        icsr = pending ? 1u << 26 : 0;
        return &icsr;
    case 0xE0001004:
        pass(1);
        cyccnt = shown_cyccnt = has_dwt ? (uint32_t)(now - dwt_zero) : 0;
        return &cyccnt;
    default:
        return &other;
    }
}

int main(int argc, char** argv) {
    eq_port_t port;
    uint64_t origin;
    memset(&port, 1, sizeof port);
    has_dwt = argc > 1 && strcmp(argv[1], "dwt") == 0;
    seed = argc > 2 ? (uint32_t)atoi(argv[2]) : 1;
    eq_ticks_start(&port, 1000);
    printf("%s %u %d %d\n", port.tick_source, port.tick_bits, port.idle == NULL,
           port.align_ticks == NULL);
    uint64_t mask = port.tick_bits >= 64 ? UINT64_MAX : ((uint64_t)1 << port.tick_bits) - 1;
    origin = now - port.ticks(NULL);
    for (int i = 0; i < 200000; i++) {
        uint64_t before, ticks;
        /* Often to just before a wrap, now and then far. */
        uint64_t to_wrap = running ? zero_at - now : 1000;
        uint64_t far = random_number() % 8 == 0 ? random_number() % (TOP / 2) : 0;
        pass(far < to_wrap ? far : 0);
        to_wrap = running ? zero_at - now : 1000;
        if (random_number() % 4 == 0 && to_wrap > 6) {
            pass(to_wrap - random_number() % 6 - 1);
        }
        deliver();
        if (random_number() % 16 == 0 && port.align_ticks != NULL) {
            uint64_t start = port.ticks(NULL);
            port.align_ticks(NULL);
            /* Alignment may give away part of a tick, so the origin moves a little. */
            ticks = port.ticks(NULL);
            if (((ticks - start) & mask) > 64) {
                printf("align: from %llu to %llu\n", (unsigned long long)start,
                       (unsigned long long)ticks);
                return 1;
            }
            origin = now - ticks;
            continue;
        }
        before = now;
        ticks = port.ticks(NULL);
        /* Right to what passes around a reading; a wrap missed or counted twice is 2^24 off. */
        if (((ticks - (before - origin)) & mask) > 64 && ((before - origin - ticks) & mask) > 64) {
            printf("at %llu to %llu: %llu\n", (unsigned long long)(before - origin),
                   (unsigned long long)(now - origin), (unsigned long long)ticks);
            return 1;
        }
    }
    return 0;
}
