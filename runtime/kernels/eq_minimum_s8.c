#include "eq_arithmetic.h"

#define EQ_BINARY eq_minimum_s8
#define EQ_PARAMETERS eq_broadcast_t
#define EQ_SHAPE p
#define EQ_VALUE int8_t
#define EQ_RESULT(p, x, y) ((void)(p), eq_min(x, y))
#include "eq_binary_body.h"
