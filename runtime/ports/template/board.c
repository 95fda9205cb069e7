/* A board to copy: `cp -r ports/template ports/my-board`, then go through every TODO. What is here
 * compiles and runs nowhere: the UART is made up. runtime/README.md of this folder says the rest.
 *
 * With a vendor's library (HAL, pico-sdk, Zephyr) keep its start-up code and linker script, leave
 * out ports/cortex-m/startup.c and memory.c, and write only the functions below with its calls.
 */
#include "board.h"
#include "cortex_m.h"

/* TODO: the registers of your UART, from the chip's reference manual. */
#define UART_DATA EQ_REGISTER(0x40000000)
#define UART_STATUS EQ_REGISTER(0x40000004)
#define UART_CONTROL EQ_REGISTER(0x40000008)
#define UART_BAUD EQ_REGISTER(0x4000000C)
#define UART_INTERRUPT 5
#define STATUS_TX_FULL 1u
#define STATUS_RX_READY 2u
#define STATUS_ERROR 4u /* overrun, framing, parity, noise */
#define CONTROL_ON 1u
#define CONTROL_RX_INTERRUPT 2u

/* TODO: the processor's clock after clock_start. */
#define CLOCK_HZ 48000000u

static eq_ring_t ring;
static eq_port_t port;

/* TODO: oscillator, PLL, flash wait states, caches. Write down where each number comes from. */
static void clock_start(void) {
}

/* Takes every byte that is there. What the hardware reports as damaged or lost is told to the
 * ring, so that the harness refuses the line instead of taking it for whole. */
static void uart_interrupt(void) {
    uint32_t status = UART_STATUS;
    if ((status & STATUS_ERROR) != 0) {
        UART_STATUS = STATUS_ERROR; /* TODO: however your UART clears it */
        eq_ring_lose(&ring);
    }
    if ((status & STATUS_RX_READY) != 0) {
        eq_ring_put(&ring, (uint8_t)UART_DATA);
    }
}

/* The vector table's part behind the core's own 16 entries. */
EQ_INTERRUPTS = {[UART_INTERRUPT] = uart_interrupt};

static void uart_start(void) {
    /* TODO: the clocks of UART and pins, the pins' alternate function; 8N1. */
    UART_BAUD = CLOCK_HZ / EQ_BAUD;
    UART_CONTROL = CONTROL_ON | CONTROL_RX_INTERRUPT;
    eq_interrupt_enable(UART_INTERRUPT);
}

/* Waits for room, byte by byte. The report of a fault uses it, too. */
void eq_board_write(void* context, const char* bytes, size_t count) {
    (void)context;
    while (count-- > 0) {
        while ((UART_STATUS & STATUS_TX_FULL) != 0) {
        }
        UART_DATA = (uint8_t)*bytes++;
    }
}

static int board_read(void* context) {
    (void)context;
    return eq_ring_take(&ring);
}

static void board_idle(void* context) {
    (void)context;
    eq_sleep_if_empty(&ring);
}

const eq_port_t* eq_board_start(void) {
    clock_start();
    uart_start();
    port.board = "template"; /* TODO */
    port.read = board_read;
    port.write = eq_board_write;
    port.idle = board_idle;
    port.memory = eq_memory_from_linker;
    /* The core's own counters. A chip with neither DWT nor SysTick: ports/microbit. */
    eq_ticks_start(&port, CLOCK_HZ);
    return &port;
}
