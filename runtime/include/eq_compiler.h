/* What C99 has no word for. */
#ifndef EQ_COMPILER_H_
#define EQ_COMPILER_H_

/* Keeps a loop in a function of its own. Inlined into one that holds many values, its sums would
 * live on the stack.
 */
#if defined(__GNUC__)
#define EQ_NOINLINE __attribute__((noinline))
#else
#define EQ_NOINLINE
#endif

#endif /* EQ_COMPILER_H_ */
