/* Networks that only the tests on the host know, beside stub_model. */
#ifndef HOST_MODELS_H_
#define HOST_MODELS_H_

#include "edgeq_harness.h"

typedef struct {
    const char* name;
    const eq_model_t* model;
    const eq_input_t* input;
    size_t inputs_size;
    size_t db_size;
    size_t arena_size; /* what the firmware has, right or wrong */
} host_model_t;

/* Null when there is none of that name. */
const host_model_t* host_model(const char* name);

#endif /* HOST_MODELS_H_ */
