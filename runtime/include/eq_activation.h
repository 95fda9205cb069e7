/* Functions of one int8 value. */
#ifndef EQ_ACTIVATION_H_
#define EQ_ACTIVATION_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int32_t count;
    const int8_t* table; /* [256]: the result for -128, -127, .. 127 */
} eq_lookup_s8_t;

/* Any function: the build computes its 256 results by TFLM's formula. In place: output may be
 * input.
 */
void eq_lookup_s8(const eq_lookup_s8_t* p, const int8_t* input, int8_t* output);

typedef struct {
    int32_t count;
    int32_t low;
    int32_t high;
} eq_clamp_s8_t;

/* Each value limited to low .. high, which are within -128 .. 127. In place: output may be
 * input.
 */
void eq_clamp_s8(const eq_clamp_s8_t* p, const int8_t* input, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_ACTIVATION_H_ */
