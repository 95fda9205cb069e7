/* NUCLEO-L4R5ZI: STM32L4R5ZI, Cortex-M4 at 120 MHz from the chip's own 4 MHz oscillator. LPUART1 is
 * the ST-LINK's serial port. Registers as in ST's RM0432. Nobody has run it on hardware.
 */
#include "board.h"
#include "cortex_m.h"

#define RCC_CR EQ_REGISTER(0x40021000)
#define RCC_CFGR EQ_REGISTER(0x40021008)
#define RCC_PLLCFGR EQ_REGISTER(0x4002100C)
#define RCC_AHB2ENR EQ_REGISTER(0x4002104C)
#define RCC_APB1ENR1 EQ_REGISTER(0x40021058)
#define RCC_APB1ENR2 EQ_REGISTER(0x4002105C)
#define FLASH_ACR EQ_REGISTER(0x40022000)
#define PWR_CR2 EQ_REGISTER(0x40007004)
#define PWR_CR5 EQ_REGISTER(0x40007080)

#define CR_PLLON (1u << 24)
#define CR_PLLRDY (1u << 25)
#define APB1ENR1_PWREN (1u << 28)
#define APB1ENR2_LPUART1EN (1u << 0)
#define AHB2ENR_GPIOGEN (1u << 6)
#define CR2_IOSV (1u << 9)   /* VDDIO2 is there: port G has its own supply */
#define CR5_R1MODE (1u << 8) /* 0: boost, needed beyond 80 MHz */
/* Instruction and data cache, prefetch, 5 wait states: 120 MHz in boost mode */
#define ACR_VALUE (1u << 10 | 1u << 9 | 1u << 8 | 5u)
/* Output R on, divided by 2; N = 60; M = 1; from the 4 MHz of MSI */
#define PLLCFGR_VALUE (1u << 24 | 60u << 8 | 1u)
#define CFGR_SW_PLL 3u
#define CFGR_SWS_PLL (3u << 2)
#define CFGR_HPRE_2 (8u << 4)

#define GPIOG_MODER EQ_REGISTER(0x48001800)
#define GPIOG_PUPDR EQ_REGISTER(0x4800180C)
#define GPIOG_AFRL EQ_REGISTER(0x48001820)
#define GPIOG_AFRH EQ_REGISTER(0x48001824)

#define LPUART_CR1 EQ_REGISTER(0x40008000)
#define LPUART_BRR EQ_REGISTER(0x4000800C)
#define LPUART_ISR EQ_REGISTER(0x4000801C)
#define LPUART_ICR EQ_REGISTER(0x40008020)
#define LPUART_RDR EQ_REGISTER(0x40008024)
#define LPUART_TDR EQ_REGISTER(0x40008028)
#define LPUART_INTERRUPT 70
#define ISR_ERRORS 0xFu /* overrun, noise, framing, parity */
#define ISR_RXNE (1u << 5)
#define ISR_TXE (1u << 7)
#define CR1_VALUE (1u << 5 | 1u << 3 | 1u << 2 | 1u) /* receive interrupt; both ways; on */

#define CLOCK_HZ 120000000u

static eq_ring_t ring;
static eq_port_t port;

static void clock_start(void) {
    RCC_APB1ENR1 |= APB1ENR1_PWREN;
    (void)RCC_APB1ENR1;
    PWR_CR2 |= CR2_IOSV;
    PWR_CR5 &= ~CR5_R1MODE;
    FLASH_ACR = ACR_VALUE;
    while ((FLASH_ACR & 0xF) != (ACR_VALUE & 0xF)) {
    }
    RCC_PLLCFGR = PLLCFGR_VALUE;
    RCC_CR |= CR_PLLON;
    while ((RCC_CR & CR_PLLRDY) == 0) {
    }
    /* From below 80 MHz to above by way of half the clock, for at least 1 us. */
    RCC_CFGR = CFGR_HPRE_2 | CFGR_SW_PLL;
    while ((RCC_CFGR & CFGR_SWS_PLL) != CFGR_SWS_PLL) {
    }
    for (volatile uint32_t i = 0; i < 100; i++) {
    }
    RCC_CFGR = CFGR_SW_PLL;
}

static void uart_interrupt(void) {
    uint32_t status = LPUART_ISR;
    if ((status & ISR_ERRORS) != 0) {
        LPUART_ICR = ISR_ERRORS;
        eq_ring_lose(&ring);
    }
    if ((status & ISR_RXNE) != 0) {
        eq_ring_put(&ring, (uint8_t)LPUART_RDR);
    }
}

EQ_INTERRUPTS = {[LPUART_INTERRUPT] = uart_interrupt};

static void uart_start(void) {
    RCC_AHB2ENR |= AHB2ENR_GPIOGEN;
    RCC_APB1ENR2 |= APB1ENR2_LPUART1EN;
    (void)RCC_APB1ENR2;
    /* PG7 transmits, PG8 receives: alternate function 8 */
    GPIOG_AFRL = (GPIOG_AFRL & ~(0xFu << 28)) | 8u << 28;
    GPIOG_AFRH = (GPIOG_AFRH & ~0xFu) | 8u;
    GPIOG_PUPDR |= 1u << 16; /* quiet when nothing is connected */
    GPIOG_MODER = (GPIOG_MODER & ~(3u << 14 | 3u << 16)) | 2u << 14 | 2u << 16;
    LPUART_BRR = (uint32_t)(256ull * CLOCK_HZ / EQ_BAUD);
    LPUART_CR1 = CR1_VALUE;
    eq_interrupt_enable(LPUART_INTERRUPT);
}

void eq_board_write(void* context, const char* bytes, size_t count) {
    (void)context;
    while (count-- > 0) {
        while ((LPUART_ISR & ISR_TXE) == 0) {
        }
        LPUART_TDR = (uint8_t)*bytes++;
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
    port.board = "nucleo-l4r5zi";
    port.read = board_read;
    port.write = eq_board_write;
    port.idle = board_idle;
    port.memory = eq_memory_from_linker;
    eq_ticks_start(&port, CLOCK_HZ);
    return &port;
}
