#include "eq_conv.h"
#include "eq_dot.h"

#define EQ_CONV eq_conv_s8
#define EQ_PARAMETERS eq_conv_s8_t
#define EQ_VALUE int8_t
#define EQ_SUM uint32_t
#define EQ_BEGIN eq_channels_begin
#define EQ_DOT eq_dot_s8
#define EQ_END eq_channels_s8
#include "eq_conv_body.h"
