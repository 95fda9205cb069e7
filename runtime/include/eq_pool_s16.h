/* Pooling of int16 activations: eq_pool.h says how. A sum of AVERAGE_POOL_2D is within int32, so
 * that a kernel has at most 65535 taps.
 */
#ifndef EQ_POOL_S16_H_
#define EQ_POOL_S16_H_

#include "eq_pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Formulas: TFLM's reference_integer_ops::AveragePool and MaxPool for int16. */
void eq_average_pool_s16(const eq_pool_t* p, const int16_t* input, int16_t* output);
void eq_max_pool_s16(const eq_pool_t* p, const int16_t* input, int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_POOL_S16_H_ */
