#include "eq_arithmetic.h"

static int32_t square(const eq_add_t* p, int32_t x, int32_t y) {
    const int32_t difference = eq_addends_difference(p, x, y);
    return eq_addends_output(p, difference * difference);
}

#define EQ_BINARY eq_squared_difference_s8
#define EQ_PARAMETERS eq_add_t
#define EQ_SHAPE &p->shape
#define EQ_VALUE int8_t
#define EQ_RESULT(p, x, y) square(p, x, y)
#include "eq_binary_body.h"
