/* The two families of commands. */
#ifndef EQ_COMMANDS_H_
#define EQ_COMMANDS_H_

#include "edgeq_harness.h"
#include "eq_text.h"

/* MLPerf Tiny's commands; false when `command` is none of them. `rest` are its other words. */
bool eq_mlperf_command(eq_harness_t* harness, eq_word_t command, eq_word_t rest);

/* Answers "eq ...", of which `line` is the whole command and `rest` what follows "eq". */
void eq_extension_command(eq_harness_t* harness, eq_word_t line, eq_word_t rest);

/* MLPerf's line for the time, or a pulse in energy mode. */
void eq_mlperf_timestamp(eq_harness_t* harness);

/* "e-[Model: why it cannot start]"; true when it could. */
bool eq_mlperf_ready(eq_harness_t* harness);

#endif /* EQ_COMMANDS_H_ */
