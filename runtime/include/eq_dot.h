/* Products of one vector and several rows of weights. */
#ifndef EQ_DOT_H_
#define EQ_DOT_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* sums[i] += the products of `values` and row i, modulo 2^32: `count` values, `rows` rows that are
 * `step` values apart.
 */
void eq_dot_s8(const int8_t* values, int32_t count, const int8_t* weights, int32_t step,
               int32_t rows, uint32_t* sums);

#ifdef __cplusplus
}
#endif

#endif /* EQ_DOT_H_ */
