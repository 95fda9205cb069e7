/* Images of another size. Activations are NHWC; input and output have one scale and zero point. */
#ifndef EQ_RESIZE_H_
#define EQ_RESIZE_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `pixel` is in bytes. Output (y, x) is input (rows[y], columns[x]). */
typedef struct {
    int32_t batches;
    int32_t input_height;
    int32_t input_width;
    int32_t output_height;
    int32_t output_width;
    int32_t pixel;
    const int16_t* rows;    /* [output_height], 0 .. input_height - 1 */
    const int16_t* columns; /* [output_width], 0 .. input_width - 1 */
} eq_resize_nearest_t;

/* RESIZE_NEAREST_NEIGHBOR of any type. Formula: TFLM's reference_ops::GetNearestNeighbor, which
 * uses float32 and which the build computes.
 */
void eq_resize_nearest(const eq_resize_nearest_t* p, const void* input, void* output);

/* One side of a bilinear resize: output i lies at i * scale + offset of the input, in 1/1024. */
typedef struct {
    int32_t input_size;
    int32_t output_size;
    int32_t scale;
    int32_t offset; /* >= -512 */
} eq_resize_side_t;

typedef struct {
    int32_t batches;
    int32_t channels;
    eq_resize_side_t height;
    eq_resize_side_t width;
} eq_resize_bilinear_t;

/* RESIZE_BILINEAR. No output lies behind the last input by a whole step or more.
 *
 * Formula: TFLM's reference_ops::ResizeBilinearInteger. Its 64-bit sums fit 32: the four weights
 * add up to 2^20, and none is beyond 1.5^2 * 2^20.
 */
void eq_resize_bilinear_s8(const eq_resize_bilinear_t* p, const int8_t* input, int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_RESIZE_H_ */
