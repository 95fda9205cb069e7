/* Walking two inputs whose sides of length 1 are stretched to the other's, as NumPy does.
 *
 * The build joins neighbouring sides that are walked alike, so that most operators have one.
 */
#ifndef EQ_BROADCAST_H_
#define EQ_BROADCAST_H_

#include <stdint.h>

#define EQ_BROADCAST_RANK 6

/* The output's sides, the outermost first, and how far each input goes on along them: a step of 0
 * reads the same again. The last side is `size[rank - 1]` long; 1 <= rank <= EQ_BROADCAST_RANK.
 */
typedef struct {
    int32_t rank;
    int32_t size[EQ_BROADCAST_RANK];
    int32_t step_a[EQ_BROADCAST_RANK];
    int32_t step_b[EQ_BROADCAST_RANK];
} eq_broadcast_t;

/* Where a walk is: `offset_a` and `offset_b` are those of the present row. */
typedef struct {
    int32_t at[EQ_BROADCAST_RANK];
    int32_t offset_a;
    int32_t offset_b;
} eq_walk_t;

/* Goes to the next row; 0 when there is none. Begin with a walk that is all zeros. */
static inline int eq_broadcast_next(const eq_broadcast_t* shape, eq_walk_t* walk) {
    for (int32_t i = shape->rank - 2; i >= 0; i--) {
        walk->offset_a += shape->step_a[i];
        walk->offset_b += shape->step_b[i];
        walk->at[i]++;
        if (walk->at[i] < shape->size[i]) {
            return 1;
        }
        walk->offset_a -= shape->step_a[i] * shape->size[i];
        walk->offset_b -= shape->step_b[i] * shape->size[i];
        walk->at[i] = 0;
    }
    return 0;
}

#endif /* EQ_BROADCAST_H_ */
