/* Operators that copy values to other places and compute none. Values are bytes here: one kernel
 * serves all types.
 *
 * Steps and starts are in bytes, of the input and of the output; a step may be negative (backwards)
 * or 0 (the same again).
 */
#ifndef EQ_MOVE_H_
#define EQ_MOVE_H_

#include "eq_broadcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `count` slabs of `size` bytes each. */
typedef struct {
    int32_t count;
    int32_t size; /* >= 1 */
    int32_t input_step;
    int32_t output_step;
    int32_t input_start;
    int32_t output_start;
} eq_slabs_t;

/* CONCATENATION, PACK, SPLIT, SPLIT_V, UNPACK (one call for each part), and slices of one side.
 *
 * In place: output may be input, if the output steps go forward by at least `size` and no slab goes
 * to behind where it was.
 */
void eq_slabs(const eq_slabs_t* p, const void* input, void* output);

/* `slabs` again and again: at each place of the sides of `outer` but the last, whose steps are a
 * for the input and b for the output. The last side is the slabs' own, and is not looked at.
 */
typedef struct {
    eq_broadcast_t outer;
    eq_slabs_t slabs;
} eq_move_t;

/* TRANSPOSE, SLICE, STRIDED_SLICE, SPACE_TO_DEPTH, DEPTH_TO_SPACE: the output's sides, the
 * outermost first, and where along the input each goes. A PAD of another type than int8 copies its
 * input into an output that is filled; MIRROR_PAD copies from output to output as well. In place as
 * eq_slabs.
 *
 * Formula: TFLM's reference_ops::Transpose, Slice, StridedSlice, SpaceToDepth, DepthToSpace.
 */
void eq_move(const eq_move_t* p, const void* input, void* output);

typedef struct {
    int32_t batches;
    int32_t outer;
    int32_t axis_size;
    int32_t count;
    int32_t size;
} eq_gather_t;

/* GATHER: for each of `batches`, which have `count` indices of their own, and each of `outer`, the
 * slabs of `size` bytes that the indices name, of `axis_size`. An index that is outside is limited
 * to 0 .. axis_size - 1; TFLM reads what is there.
 *
 * Input [batches][outer][axis_size][size], output [batches][outer][count][size]. Formula: TFLM's
 * Gather.
 */
void eq_gather(const eq_gather_t* p, const void* input, const int32_t* indices, void* output);

/* SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: an image [batches][height][width], of `pixel` bytes,
 * and its blocks [block_height][block_width][batches][blocks_height][blocks_width]. Pixel (y, x)
 * is in the blocks at row y + top and column x + left, which is place (row / block_height,
 * column / block_width) of block (row % block_height, column % block_width); all pixels are inside.
 */
typedef struct {
    int32_t batches;
    int32_t height;
    int32_t width;
    int32_t pixel;
    int32_t block_height;
    int32_t block_width;
    int32_t blocks_height;
    int32_t blocks_width;
    int32_t top;
    int32_t left;
} eq_block_move_t;

/* Fills the pixels of the image into the blocks; the rest of these stays as it is.
 *
 * Formula: TFLM's reference_ops::SpaceToBatchND. The rest must be the zero point, as in LiteRT;
 * TFLM takes what its arena held.
 */
void eq_space_to_batch(const eq_block_move_t* p, const void* image, void* blocks);

/* Formula: TFLM's reference_ops::BatchToSpaceND. */
void eq_batch_to_space(const eq_block_move_t* p, const void* blocks, void* image);

/* Bytes from the blocks' start to the pixel (y, x) of the image `batch`. */
static inline int32_t eq_blocks_offset(const eq_block_move_t* p, int32_t batch, int32_t y,
                                       int32_t x) {
    const int32_t row = y + p->top;
    const int32_t column = x + p->left;
    const int32_t block = row % p->block_height * p->block_width + column % p->block_width;
    const int32_t line = (block * p->batches + batch) * p->blocks_height + row / p->block_height;
    return (line * p->blocks_width + column / p->block_width) * p->pixel;
}

#ifdef __cplusplus
}
#endif

#endif /* EQ_MOVE_H_ */
