#include "eq_pool.h"

/* sum / count, rounded to nearest, halves away from zero. */
static int32_t mean(int32_t sum, int32_t count) {
    return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

#define EQ_POOL eq_average_pool_s8
#define EQ_VALUE int8_t
#define EQ_START 0
#define EQ_TAKE(so_far, value) ((so_far) + (value))
#define EQ_RESULT(so_far, count) mean(so_far, count)
#include "eq_pool_body.h"
