/* STM32F4: a USART, and the PLL at the chip's highest clock. board_config.h has a board's numbers.
 * Registers as in ST's RM0090 (F405) and RM0390 (F446).
 */
#include "board.h"
#include "board_config.h"
#include "cortex_m.h"

#define RCC_CR EQ_REGISTER(0x40023800)
#define RCC_PLLCFGR EQ_REGISTER(0x40023804)
#define RCC_CFGR EQ_REGISTER(0x40023808)
#define RCC_AHB1ENR EQ_REGISTER(0x40023830)
#define RCC_APB1ENR EQ_REGISTER(0x40023840)
#define RCC_APB2ENR EQ_REGISTER(0x40023844)
#define FLASH_ACR EQ_REGISTER(0x40023C00)
#define PWR_CR EQ_REGISTER(0x40007000)
#define PWR_CSR EQ_REGISTER(0x40007004)

#define CR_HSEON (1u << 16)
#define CR_HSERDY (1u << 17)
#define CR_HSEBYP (1u << 18)
#define CR_PLLON (1u << 24)
#define CR_PLLRDY (1u << 25)
#define APB1ENR_PWREN (1u << 28)
#define PWR_CR_VOS (3u << 14) /* scale 1 */
#define PWR_CR_ODEN (1u << 16)
#define PWR_CR_ODSWEN (1u << 17)
#define PWR_CSR_ODRDY (1u << 16)
#define PWR_CSR_ODSWRDY (1u << 17)
/* Instruction and data cache, prefetch, 5 wait states: 180 MHz at 2.7 to 3.6 V */
#define ACR_VALUE (1u << 10 | 1u << 9 | 1u << 8 | 5u)
#define CFGR_PLL_APB1_4_APB2_2 (4u << 13 | 5u << 10 | 2u)
#define CFGR_SWS_PLL (2u << 2)

#define HSI_HZ 16000000u
#define PLL_INPUT_HZ (EQ_VCO_HZ / EQ_PLL_N)
#define CLOCK_HZ (EQ_VCO_HZ / 2) /* PLLP = 2 */

#define GPIO_MODER EQ_REGISTER(EQ_GPIO + 0x00)
#define GPIO_PUPDR EQ_REGISTER(EQ_GPIO + 0x0C)
#define GPIO_AFRL EQ_REGISTER(EQ_GPIO + 0x20) /* pins 0 to 7 */
#define USART_SR EQ_REGISTER(EQ_USART + 0x00)
#define USART_DR EQ_REGISTER(EQ_USART + 0x04)
#define USART_BRR EQ_REGISTER(EQ_USART + 0x08)
#define USART_CR1 EQ_REGISTER(EQ_USART + 0x0C)
#define SR_ERRORS 0xFu /* overrun, noise, framing, parity */
#define SR_RXNE (1u << 5)
#define SR_TXE (1u << 7)
#define CR1_VALUE (1u << 13 | 1u << 5 | 1u << 3 | 1u << 2) /* on; receive interrupt; both ways */

static eq_ring_t ring;
static eq_port_t port;

/* --- Clock -------------------------------------------------------------------------------- */

static bool becomes(uint32_t address, uint32_t mask, uint32_t value) {
    for (uint32_t i = 0; i < 100000; i++) { /* the slowest takes 2 ms: a crystal */
        if ((EQ_REGISTER(address) & mask) == value) {
            return true;
        }
    }
    return false;
}

/* The processor's clock. The external one where there is one, else the chip's own (1 %). */
static uint32_t clock_start(void) {
    uint32_t input = HSI_HZ;
    uint32_t source = 0;
    if (RCC_CR == 0) {
        return CLOCK_HZ; /* QEMU: no clock control, and the highest clock from the start */
    }
    RCC_CR |= CR_HSEON | EQ_HSE_BYPASS;
    if (becomes(0x40023800, CR_HSERDY, CR_HSERDY)) {
        input = EQ_HSE_HZ;
        source = 1u << 22;
    }
    RCC_APB1ENR |= APB1ENR_PWREN;
    PWR_CR |= PWR_CR_VOS;
    FLASH_ACR = ACR_VALUE;
    RCC_PLLCFGR = 2u << 28 | 8u << 24 | source | (uint32_t)EQ_PLL_N << 6 | input / PLL_INPUT_HZ;
    RCC_CR |= CR_PLLON;
    if (!becomes(0x40023800, CR_PLLRDY, CR_PLLRDY)) {
        return HSI_HZ;
    }
#if EQ_OVERDRIVE /* needed beyond 168 MHz */
    PWR_CR |= PWR_CR_ODEN;
    becomes(0x40007004, PWR_CSR_ODRDY, PWR_CSR_ODRDY);
    PWR_CR |= PWR_CR_ODSWEN;
    becomes(0x40007004, PWR_CSR_ODSWRDY, PWR_CSR_ODSWRDY);
#endif
    RCC_CFGR = CFGR_PLL_APB1_4_APB2_2;
    return becomes(0x40023808, 3u << 2, CFGR_SWS_PLL) ? CLOCK_HZ : HSI_HZ;
}

/* --- Serial port -------------------------------------------------------------------------- */

static void usart_interrupt(void) {
    uint32_t status = USART_SR;
    uint32_t byte = USART_DR; /* after SR: this clears the errors, too */
    if ((status & SR_ERRORS) != 0) {
        eq_ring_lose(&ring);
    } else if ((status & SR_RXNE) != 0) {
        eq_ring_put(&ring, (uint8_t)byte);
    }
}

EQ_INTERRUPTS = {[EQ_USART_INTERRUPT] = usart_interrupt};

static void usart_start(uint32_t clock_hz) {
    uint32_t bus_hz = clock_hz == HSI_HZ ? HSI_HZ : clock_hz / EQ_USART_DIVIDER;
    RCC_AHB1ENR |= EQ_GPIO_ENABLE;
    EQ_REGISTER(EQ_USART_ENABLE_REGISTER) |= EQ_USART_ENABLE;
    (void)EQ_REGISTER(EQ_USART_ENABLE_REGISTER); /* two cycles until the clock is there */
    GPIO_AFRL = (GPIO_AFRL & ~(0xFu << 4 * EQ_PIN_TX | 0xFu << 4 * EQ_PIN_RX)) |
                7u << 4 * EQ_PIN_TX | 7u << 4 * EQ_PIN_RX;
    GPIO_PUPDR |= 1u << 2 * EQ_PIN_RX; /* quiet when nothing is connected */
    GPIO_MODER = (GPIO_MODER & ~(3u << 2 * EQ_PIN_TX | 3u << 2 * EQ_PIN_RX)) | 2u << 2 * EQ_PIN_TX |
                 2u << 2 * EQ_PIN_RX;
    USART_BRR = (bus_hz + EQ_BAUD / 2) / EQ_BAUD;
    USART_CR1 = CR1_VALUE;
    eq_interrupt_enable(EQ_USART_INTERRUPT);
}

void eq_board_write(void* context, const char* bytes, size_t count) {
    (void)context;
    while (count-- > 0) {
        while ((USART_SR & SR_TXE) == 0) {
        }
        USART_DR = (uint8_t)*bytes++;
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
    uint32_t clock_hz = clock_start();
    usart_start(clock_hz);
    port.board = EQ_BOARD;
    port.read = board_read;
    port.write = eq_board_write;
    port.idle = board_idle;
    port.memory = eq_memory_from_linker;
    eq_ticks_start(&port, clock_hz);
    return &port;
}
