/* The answers to the commands that MLPerf Tiny lacks, between the line that came and its last one.
 * Each takes the `count` words after its verb; the result is EQ_OK or an error's code.
 */
#ifndef EQ_ANSWERS_H_
#define EQ_ANSWERS_H_

#include "edgeq_harness.h"
#include "eq_text.h"

/* What firmware, network and board are: eq_describe.c. */
int eq_answer_info(eq_harness_t* harness, const eq_word_t* words, size_t count);
int eq_answer_model(eq_harness_t* harness, const eq_word_t* words, size_t count);
int eq_answer_memory(eq_harness_t* harness, const eq_word_t* words, size_t count);

/* Bytes of inputs, outputs and the state: eq_transfer.c. */
int eq_answer_load(eq_harness_t* harness, const eq_word_t* words, size_t count);
int eq_answer_output(eq_harness_t* harness, const eq_word_t* words, size_t count);
int eq_answer_reset(eq_harness_t* harness, const eq_word_t* words, size_t count);

/* Inferences, timed as a whole and by layers: eq_measure.c. */
int eq_answer_run(eq_harness_t* harness, const eq_word_t* words, size_t count);
int eq_answer_profile(eq_harness_t* harness, const eq_word_t* words, size_t count);
int eq_answer_layers(eq_harness_t* harness, const eq_word_t* words, size_t count);

#endif /* EQ_ANSWERS_H_ */
