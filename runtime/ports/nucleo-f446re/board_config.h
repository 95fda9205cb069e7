/* For ports/stm32f4/board.c. NUCLEO-F446RE: 8 MHz from the ST-LINK, on the pin OSC_IN. */
#define EQ_BOARD "nucleo-f446re"
#define EQ_HSE_HZ 8000000u
#define EQ_HSE_BYPASS (1u << 18)
#define EQ_PLL_N 180
#define EQ_VCO_HZ 360000000u /* from an input of 2 MHz */
#define EQ_OVERDRIVE 1

/* USART2 on PA2 (transmit) and PA3 (receive): the ST-LINK's serial port. */
#define EQ_GPIO 0x40020000u
#define EQ_GPIO_ENABLE (1u << 0)
#define EQ_PIN_TX 2
#define EQ_PIN_RX 3
#define EQ_USART 0x40004400u
#define EQ_USART_INTERRUPT 38
#define EQ_USART_DIVIDER 4 /* APB1 */
#define EQ_USART_ENABLE_REGISTER 0x40023840u
#define EQ_USART_ENABLE (1u << 17)
