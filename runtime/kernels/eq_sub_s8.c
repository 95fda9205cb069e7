#include "eq_arithmetic.h"

#define EQ_BINARY eq_sub_s8
#define EQ_PARAMETERS eq_add_t
#define EQ_SHAPE &p->shape
#define EQ_VALUE int8_t
#define EQ_RESULT(p, x, y) eq_addends_output(p, eq_addends_difference(p, x, y))
#include "eq_binary_body.h"
