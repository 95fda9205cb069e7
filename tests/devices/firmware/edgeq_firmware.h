#include "toy.h"

#define EDGEQ_FIRMWARE_VERSION 1
#define EDGEQ_MODEL toy_model
#define EDGEQ_ARENA_SIZE TOY_ARENA
#define EDGEQ_INPUT_BYTES 28
#define EDGEQ_ENGINE "aot"
