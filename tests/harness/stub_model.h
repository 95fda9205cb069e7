/* A network for tests of the harness: its output is its input, by way of two layers. */
#ifndef STUB_MODEL_H_
#define STUB_MODEL_H_

#include "edgeq.h"

#define STUB_ARENA_SIZE 32

extern const eq_model_t stub_model;

#endif /* STUB_MODEL_H_ */
