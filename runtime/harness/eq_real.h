/* Floats in integers, for the text of MLPerf's results, on cores without an FPU too. */
#ifndef EQ_REAL_H_
#define EQ_REAL_H_

#include "edgeq_harness.h"

/* (-1)^negative * mantissa * 2^exponent, or what `kind` says. A mantissa has 24 bits at most. */
typedef struct {
    uint32_t mantissa;
    int16_t exponent;
    bool negative;
    enum { EQ_FINITE, EQ_INFINITE, EQ_NOT_A_NUMBER } kind;
} eq_real_t;

eq_real_t eq_real_from_float(float value);

/* The float (float)steps * scale, rounded to nearest even as the language has it. */
eq_real_t eq_real_scale(int64_t steps, float scale);

/* As printf's "%.3f": exact, ties to even. */
void eq_put_real(eq_harness_t* harness, eq_real_t real);

#endif /* EQ_REAL_H_ */
