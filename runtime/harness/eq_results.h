/* MLPerf's results: the first output in real numbers. */
#ifndef EQ_RESULTS_H_
#define EQ_RESULTS_H_

#include "edgeq_harness.h"

void eq_put_results(eq_harness_t* harness);

#endif /* EQ_RESULTS_H_ */
