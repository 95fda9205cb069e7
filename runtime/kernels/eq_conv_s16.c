#include "eq_conv_s16.h"

#define EQ_CONV eq_conv_s16
#define EQ_PARAMETERS eq_conv_s16_t
#define EQ_VALUE int16_t
#define EQ_SUM int64_t
#define EQ_BEGIN eq_channels_s16_begin
#define EQ_DOT eq_dot_s16
#define EQ_END eq_channels_s16
#include "eq_conv_body.h"
