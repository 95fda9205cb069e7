#include "edgeq.h"

#define TOY_ARENA 192

#ifndef TOY_KEEPS_STATE
#define TOY_KEEPS_STATE 0
#endif
#ifndef TOY_BUG
#define TOY_BUG 0
#endif
#ifndef TOY_WORK
#define TOY_WORK 1000
#endif
#ifndef TOY_SHA256
#define TOY_SHA256 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#endif

extern const eq_model_t toy_model;
