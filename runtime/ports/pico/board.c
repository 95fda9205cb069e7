/* Raspberry Pi Pico: RP2040, one Cortex-M0+ at 133 MHz; the other core stays in the boot ROM. UART0
 * on GP0 (transmit) and GP1 (receive), not USB. Registers as in the RP2040 datasheet. Nobody has
 * run it on hardware.
 */
#include "board.h"
#include "cortex_m.h"

#define RESETS_CLEAR EQ_REGISTER(0x4000C000 + 0x3000) /* the alias that clears the bits written */
#define RESETS_DONE EQ_REGISTER(0x4000C008)
#define RESET_IO_BANK0 (1u << 5)
#define RESET_PADS_BANK0 (1u << 8)
#define RESET_PLL_SYS (1u << 12)
#define RESET_UART0 (1u << 22)

#define CLK_REF_CTRL EQ_REGISTER(0x40008030)
#define CLK_REF_SELECTED EQ_REGISTER(0x40008038)
#define CLK_SYS_CTRL EQ_REGISTER(0x4000803C)
#define CLK_SYS_SELECTED EQ_REGISTER(0x40008044)
#define CLK_PERI_CTRL EQ_REGISTER(0x40008048)
#define XOSC_CTRL EQ_REGISTER(0x40024000)
#define XOSC_STATUS EQ_REGISTER(0x40024004)
#define XOSC_STARTUP EQ_REGISTER(0x4002400C)
#define PLL_SYS_CS EQ_REGISTER(0x40028000)
#define PLL_SYS_PWR EQ_REGISTER(0x40028004)
#define PLL_SYS_FBDIV EQ_REGISTER(0x40028008)
#define PLL_SYS_PRIM EQ_REGISTER(0x4002800C)

#define GPIO0_CTRL EQ_REGISTER(0x40014004)
#define GPIO1_CTRL EQ_REGISTER(0x4001400C)
#define FUNCTION_UART 2u

#define UART_DR EQ_REGISTER(0x40034000)
#define UART_FR EQ_REGISTER(0x40034018)
#define UART_IBRD EQ_REGISTER(0x40034024)
#define UART_FBRD EQ_REGISTER(0x40034028)
#define UART_LCR_H EQ_REGISTER(0x4003402C)
#define UART_CR EQ_REGISTER(0x40034030)
#define UART_IFLS EQ_REGISTER(0x40034034)
#define UART_IMSC EQ_REGISTER(0x40034038)
#define UART_ICR EQ_REGISTER(0x40034044)
#define UART_INTERRUPT 20
#define FR_RX_EMPTY (1u << 4)
#define FR_TX_FULL (1u << 5)
#define DR_ERRORS (0xFu << 8)          /* overrun, break, parity, framing */
#define INTERRUPTS (1u << 4 | 1u << 6) /* receive, and receive time-out: a FIFO not full enough */

#define CRYSTAL_HZ 12000000u
#define PLL_MULTIPLIER 133u /* 1596 MHz */
#define PLL_DIVIDER_1 6u
#define PLL_DIVIDER_2 2u
#define CLOCK_HZ (CRYSTAL_HZ / (PLL_DIVIDER_1 * PLL_DIVIDER_2) * PLL_MULTIPLIER)

static eq_ring_t ring;
static eq_port_t port;

static void release(uint32_t blocks) {
    RESETS_CLEAR = blocks;
    while ((RESETS_DONE & blocks) != blocks) {
    }
}

static void clock_start(void) {
    XOSC_STARTUP = 47;                 /* x 256 cycles: 1 ms */
    XOSC_CTRL = 0xFABu << 12 | 0xAA0u; /* on, 1 to 15 MHz */
    while ((XOSC_STATUS >> 31) == 0) { /* STABLE */
    }
    CLK_REF_CTRL = 2; /* crystal */
    while (CLK_REF_SELECTED != 1u << 2) {
    }
    CLK_SYS_CTRL = 0; /* from clk_ref, before the PLL is touched: a debugger may have left it on */
    while (CLK_SYS_SELECTED != 1u << 0) {
    }
    release(RESET_PLL_SYS);
    PLL_SYS_PWR = 0x2D; /* all off */
    PLL_SYS_CS = 1;     /* reference divided by 1 */
    PLL_SYS_FBDIV = PLL_MULTIPLIER;
    PLL_SYS_PWR = 0x0C;               /* PLL and VCO on, dividers still off */
    while ((PLL_SYS_CS >> 31) == 0) { /* LOCK */
    }
    PLL_SYS_PRIM = PLL_DIVIDER_1 << 16 | PLL_DIVIDER_2 << 12;
    PLL_SYS_PWR = 0x04; /* all on but the modulator, which has no use */
    CLK_SYS_CTRL = 1;   /* from the auxiliary source, which is pll_sys */
    while (CLK_SYS_SELECTED != 1u << 1) {
    }
    CLK_PERI_CTRL = 1u << 11; /* on, from clk_sys */
}

static void uart_interrupt(void) {
    UART_ICR = INTERRUPTS;
    while ((UART_FR & FR_RX_EMPTY) == 0) {
        uint32_t data = UART_DR;
        if ((data & DR_ERRORS) != 0) {
            eq_ring_lose(&ring);
        } else {
            eq_ring_put(&ring, (uint8_t)data);
        }
    }
}

EQ_INTERRUPTS = {[UART_INTERRUPT] = uart_interrupt};

static void uart_start(void) {
    /* The divider in 1/64, rounded. */
    uint32_t divider = (CLOCK_HZ / 16 * 64 + EQ_BAUD / 2) / EQ_BAUD;
    release(RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_UART0);
    UART_IBRD = divider / 64;
    UART_FBRD = divider % 64;
    UART_LCR_H = 3u << 5 | 1u << 4; /* 8 bits, FIFOs; takes the divider over, too */
    UART_IFLS = 0;                  /* interrupt when the FIFO is an eighth full */
    UART_CR = 1u << 9 | 1u << 8 | 1u;
    UART_IMSC = INTERRUPTS;
    GPIO0_CTRL = FUNCTION_UART;
    GPIO1_CTRL = FUNCTION_UART;
    eq_interrupt_enable(UART_INTERRUPT);
}

void eq_board_write(void* context, const char* bytes, size_t count) {
    (void)context;
    while (count-- > 0) {
        while ((UART_FR & FR_TX_FULL) != 0) {
        }
        UART_DR = (uint8_t)*bytes++;
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
    port.board = "pico";
    port.read = board_read;
    port.write = eq_board_write;
    port.idle = board_idle;
    port.memory = eq_memory_from_linker;
    eq_ticks_start(&port, CLOCK_HZ);
    return &port;
}
