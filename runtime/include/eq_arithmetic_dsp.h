/* ADD for cores with the DSP extension. */
#ifndef EQ_ARITHMETIC_DSP_H_
#define EQ_ARITHMETIC_DSP_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The constants that edgeq/codegen/aot/addition_dsp.py found for eq_add_flat_s8_dsp. */
typedef struct {
    int32_t count;
    int32_t a;
    int32_t b;
    int32_t start;
} eq_add_flat_s8_dsp_t;

/* ADD of two inputs of one shape: each output is
 *
 *     (a * (x << 8) >> 16) + (b * (y << 8) >> 16) + start >> 20
 *
 * within int8, which gives eq_add_s8's bytes for all x and y. In place: output may be either input.
 */
void eq_add_flat_s8_dsp(const eq_add_flat_s8_dsp_t* p, const int8_t* a, const int8_t* b,
                        int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_ARITHMETIC_DSP_H_ */
