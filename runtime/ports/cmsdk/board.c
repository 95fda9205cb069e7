/* Arm's MPS2 and MPS3 boards: CMSDK APB UART, SysTick. board_config.h has a board's numbers.
 * Written for and run on QEMU's machines; the FPGA images need no more, but nobody has tried.
 */
#include "board.h"
#include "board_config.h"
#include "cortex_m.h"

#define UART_DATA EQ_REGISTER(EQ_UART + 0x00)
#define UART_STATE EQ_REGISTER(EQ_UART + 0x04)
#define UART_CTRL EQ_REGISTER(EQ_UART + 0x08)
#define UART_INTCLEAR EQ_REGISTER(EQ_UART + 0x0C)
#define UART_BAUDDIV EQ_REGISTER(EQ_UART + 0x10)

#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define STATE_RX_OVERRUN 8u
#define CTRL_TX 1u
#define CTRL_RX 2u
#define CTRL_RX_INTERRUPT 8u
#define INTERRUPT_RX 2u

static eq_ring_t ring;
static eq_port_t port;

static void uart_interrupt(void) {
    UART_INTCLEAR = INTERRUPT_RX; /* before the byte is taken: a next one sets it again */
    if ((UART_STATE & STATE_RX_OVERRUN) != 0) {
        UART_STATE = STATE_RX_OVERRUN;
        eq_ring_lose(&ring);
    }
    while ((UART_STATE & STATE_RX_FULL) != 0) {
        eq_ring_put(&ring, (uint8_t)UART_DATA);
    }
}

/* Arm's notes and QEMU differ in which of the two lines is the receiver's. Only it is enabled in
 * the UART, so both lines may lead here. */
EQ_INTERRUPTS = {[EQ_UART_INTERRUPT] = uart_interrupt, [EQ_UART_INTERRUPT + 1] = uart_interrupt};

void eq_board_write(void* context, const char* bytes, size_t count) {
    (void)context;
    while (count-- > 0) {
        while ((UART_STATE & STATE_TX_FULL) != 0) {
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
    UART_BAUDDIV = EQ_UART_CLOCK_HZ / EQ_BAUD;
    UART_CTRL = CTRL_TX | CTRL_RX | CTRL_RX_INTERRUPT;
    eq_interrupt_enable(EQ_UART_INTERRUPT);
    eq_interrupt_enable(EQ_UART_INTERRUPT + 1);
    port.board = EQ_BOARD;
    port.read = board_read;
    port.write = eq_board_write;
    port.idle = board_idle;
    port.memory = eq_memory_from_linker;
    eq_ticks_start(&port, EQ_CLOCK_HZ);
    return &port;
}
