/* BBC micro:bit V1: nRF51822, Cortex-M0 at 16 MHz. The UART goes to the interface chip, which is a
 * serial port on USB. The chip has no SysTick: TIMER0 counts, at 16 MHz and so in cycles.
 * Run in QEMU's machine "microbit"; nobody has run it on hardware.
 */
#include "board.h"
#include "cortex_m.h"

#define PIN_TX 24 /* P0.24 and P0.25 go to the interface chip */
#define PIN_RX 25

/* nRF51 Series Reference Manual: 13 clock, 14 GPIO, 18 timer, 29 UART. */
#define CLOCK_HFCLKSTART EQ_REGISTER(0x40000000)
#define CLOCK_HFCLKSTARTED EQ_REGISTER(0x40000100)
#define GPIO_OUTSET EQ_REGISTER(0x50000508)
#define GPIO_DIRSET EQ_REGISTER(0x50000518)
#define GPIO_PIN_CNF(pin) EQ_REGISTER(0x50000700 + 4 * (pin))

#define UART_STARTRX EQ_REGISTER(0x40002000)
#define UART_STARTTX EQ_REGISTER(0x40002008)
#define UART_RXDRDY EQ_REGISTER(0x40002108)
#define UART_TXDRDY EQ_REGISTER(0x4000211C)
#define UART_ERROR EQ_REGISTER(0x40002124)
#define UART_INTENSET EQ_REGISTER(0x40002304)
#define UART_ERRORSRC EQ_REGISTER(0x40002480)
#define UART_ENABLE EQ_REGISTER(0x40002500)
#define UART_PSELTXD EQ_REGISTER(0x4000250C)
#define UART_PSELRXD EQ_REGISTER(0x40002514)
#define UART_RXD EQ_REGISTER(0x40002518)
#define UART_TXD EQ_REGISTER(0x4000251C)
#define UART_BAUDRATE EQ_REGISTER(0x40002524)
#define UART_INTERRUPT 2
#define INTEN_RXDRDY (1u << 2)
#define INTEN_ERROR (1u << 9)
/* In 2^32 / 16 MHz, of which the lowest 12 bits must be 0; 0x01D7E000 for 115200. */
#define BAUD (uint32_t)((((uint64_t)EQ_BAUD << 32) / 16000000 + 0x800) & 0xFFFFF000u)

#define TIMER_START EQ_REGISTER(0x40008000)
#define TIMER_CLEAR EQ_REGISTER(0x4000800C)
#define TIMER_CAPTURE0 EQ_REGISTER(0x40008040)
#define TIMER_COMPARE1 EQ_REGISTER(0x40008144)
#define TIMER_INTENSET EQ_REGISTER(0x40008304)
#define TIMER_MODE EQ_REGISTER(0x40008504)
#define TIMER_BITMODE EQ_REGISTER(0x40008508)
#define TIMER_PRESCALER EQ_REGISTER(0x40008510)
#define TIMER_CC0 EQ_REGISTER(0x40008540)
#define TIMER_CC1 EQ_REGISTER(0x40008544)
#define TIMER_INTERRUPT 8
#define INTEN_COMPARE1 (1u << 17)

static eq_ring_t ring;
static uint32_t aligned; /* what the alignments so far have taken away */

static void uart_interrupt(void) {
    if (UART_ERROR != 0) {
        UART_ERROR = 0;
        UART_ERRORSRC = UART_ERRORSRC; /* ones clear */
        eq_ring_lose(&ring);
    }
    if (UART_RXDRDY != 0) {
        UART_RXDRDY = 0; /* before the byte is taken: the next in the FIFO sets it again */
        eq_ring_put(&ring, (uint8_t)UART_RXD);
    }
}

/* Once in each wrap, so that the main program wakes and counts it. */
static void timer_interrupt(void) {
    TIMER_COMPARE1 = 0;
}

EQ_INTERRUPTS = {[UART_INTERRUPT] = uart_interrupt, [TIMER_INTERRUPT] = timer_interrupt};

static uint32_t timer_count(void) {
    TIMER_CAPTURE0 = 1;
    return TIMER_CC0;
}

static uint64_t timer_ticks(void* context) {
    (void)context;
    return (uint32_t)(timer_count() + aligned);
}

/* On the chip a tick is a cycle and this does nothing useful; in QEMU it is 62.5 instructions. */
static void timer_align(void* context) {
    uint32_t before;
    (void)context;
    before = timer_count();
    TIMER_CLEAR = 1;
    aligned += before;
}

static void timer_start(void) {
    TIMER_MODE = 0;    /* timer */
    TIMER_BITMODE = 3; /* 32 bits */
    TIMER_PRESCALER = 0;
    TIMER_CLEAR = 1;
    TIMER_CC1 = 0x80000000u;
    TIMER_INTENSET = INTEN_COMPARE1;
    TIMER_START = 1;
    eq_interrupt_enable(TIMER_INTERRUPT);
}

static void uart_start(void) {
    GPIO_OUTSET = 1u << PIN_TX;
    GPIO_DIRSET = 1u << PIN_TX;
    GPIO_PIN_CNF(PIN_RX) = 0; /* input, connected, no pull */
    UART_PSELTXD = PIN_TX;
    UART_PSELRXD = PIN_RX;
    UART_BAUDRATE = BAUD;
    UART_ENABLE = 4;
    UART_STARTTX = 1;
    UART_STARTRX = 1;
    UART_INTENSET = INTEN_RXDRDY | INTEN_ERROR;
    eq_interrupt_enable(UART_INTERRUPT);
}

void eq_board_write(void* context, const char* bytes, size_t count) {
    (void)context;
    while (count-- > 0) {
        UART_TXDRDY = 0;
        UART_TXD = (uint8_t)*bytes++;
        while (UART_TXDRDY == 0) {
        }
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

static const eq_port_t port = {
    .board = "microbit",
    .tick_source = "timer0",
    .tick_unit = "cycles",
    .tick_hz = 16000000,
    .tick_bits = 32,
    .ticks = timer_ticks,
    .align_ticks = timer_align,
    .read = board_read,
    .write = eq_board_write,
    .idle = board_idle,
    .memory = eq_memory_from_linker,
};

const eq_port_t* eq_board_start(void) {
    CLOCK_HFCLKSTARTED = 0;
    CLOCK_HFCLKSTART = 1; /* the crystal: the RC oscillator is too far off for a UART */
    while (CLOCK_HFCLKSTARTED == 0) {
    }
    uart_start();
    timer_start();
    return &port;
}
