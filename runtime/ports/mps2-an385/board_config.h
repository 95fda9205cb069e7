/* For ports/cmsdk/board.c. Arm application note 385. */
#define EQ_BOARD "mps2-an385"
#define EQ_CLOCK_HZ 25000000u
#define EQ_UART_CLOCK_HZ 25000000u
#define EQ_UART 0x40004000u
#define EQ_UART_INTERRUPT 0 /* and the next one */
