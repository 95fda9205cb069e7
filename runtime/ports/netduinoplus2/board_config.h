/* For ports/stm32f4/board.c. Netduino Plus 2: STM32F405RG, crystal of 25 MHz. */
#define EQ_BOARD "netduinoplus2"
#define EQ_HSE_HZ 25000000u
#define EQ_HSE_BYPASS 0
#define EQ_PLL_N 336
#define EQ_VCO_HZ 336000000u /* from an input of 1 MHz */
#define EQ_OVERDRIVE 0

/* USART1 on PB6 (transmit, header SC) and PB7 (receive, header SD); QEMU's first serial port. */
#define EQ_GPIO 0x40020400u
#define EQ_GPIO_ENABLE (1u << 1)
#define EQ_PIN_TX 6
#define EQ_PIN_RX 7
#define EQ_USART 0x40011000u
#define EQ_USART_INTERRUPT 37
#define EQ_USART_DIVIDER 2 /* APB2 */
#define EQ_USART_ENABLE_REGISTER 0x40023844u
#define EQ_USART_ENABLE (1u << 4)
