/* What main.c and the start-up code need of a board. */
#ifndef EQ_BOARD_H_
#define EQ_BOARD_H_

#include "edgeq_harness.h"

/* MLPerf's ad01 is run at 921600, its energy mode at 9600. */
#ifndef EQ_BAUD
#define EQ_BAUD 115200
#endif

/* Starts clocks, serial port and tick source. */
const eq_port_t* eq_board_start(void);

/* eq_port_t's `write`. The report of a fault calls it as well, with the ring's interrupt off. */
void eq_board_write(void* context, const char* bytes, size_t count);

#endif /* EQ_BOARD_H_ */
