/* The stub network in a firmware, as edgeq generates it for real ones. */
#include "stub_model.h"

#define EDGEQ_FIRMWARE_VERSION 1
#define EDGEQ_MODEL stub_model
#define EDGEQ_ARENA_SIZE STUB_ARENA_SIZE
#define EDGEQ_INPUT_BYTES 4
#define EDGEQ_ENGINE "aot"
#ifndef EDGEQ_TARGET
#define EDGEQ_TARGET "test"
#endif
#ifndef EDGEQ_BENCHMARK
#define EDGEQ_BENCHMARK "kws01"
#endif
