/* For ports/cmsdk/board.c. Arm application note 505; the secure alias of the UART. */
#define EQ_BOARD "mps2-an505"
#define EQ_CLOCK_HZ 20000000u
#define EQ_UART_CLOCK_HZ 20000000u
#define EQ_UART 0x50200000u
#define EQ_UART_INTERRUPT 32 /* and the next one */
