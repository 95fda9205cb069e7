/* For ports/cmsdk/board.c. Arm application note 547; the secure alias of the UART. */
#define EQ_BOARD "mps3-an547"
#define EQ_CLOCK_HZ 32000000u
#define EQ_UART_CLOCK_HZ 25000000u
#define EQ_UART 0x59303000u
#define EQ_UART_INTERRUPT 33 /* and the next one */
