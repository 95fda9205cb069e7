/* The text that the kernels of two activations have in common: the walk of eq_broadcast.h. A
 * kernel's file defines these, and then includes it:
 *
 *     EQ_BINARY           the function's name
 *     EQ_PARAMETERS       the type of its parameters
 *     EQ_SHAPE            the eq_broadcast_t of the parameters `p`
 *     EQ_VALUE            int8_t or int16_t
 *     EQ_RESULT(p, x, y)  the output for two values
 */
void EQ_BINARY(const EQ_PARAMETERS* p, const EQ_VALUE* a, const EQ_VALUE* b, EQ_VALUE* output) {
    const eq_broadcast_t* shape = EQ_SHAPE;
    const int32_t last = shape->rank - 1;
    eq_walk_t walk = {{0}, 0, 0};
    do {
        const EQ_VALUE* x = a + walk.offset_a;
        const EQ_VALUE* y = b + walk.offset_b;
        for (int32_t i = 0; i < shape->size[last]; i++) {
            *output++ = (EQ_VALUE)EQ_RESULT(p, *x, *y);
            x += shape->step_a[last];
            y += shape->step_b[last];
        }
    } while (eq_broadcast_next(shape, &walk));
}
