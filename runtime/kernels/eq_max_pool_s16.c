#include "eq_pool.h"

#define EQ_POOL eq_max_pool_s16
#define EQ_VALUE int16_t
#define EQ_START INT16_MIN
#define EQ_TAKE(so_far, value) eq_max(so_far, value)
#define EQ_RESULT(so_far, count) ((void)(count), (so_far))
#include "eq_pool_body.h"
