/* Standard error while LiteRT compiles a network: it says much there, and its reason for a failure
 * is one line of it. All goes into a pipe that nobody empties: what does not fit is lost.
 */
#ifndef EQ_HUSH_H_
#define EQ_HUSH_H_

#include <stddef.h>

typedef struct {
    int saved;
    int read_end;
} eq_hush_t;

eq_hush_t eq_hush_begin(void);

/* Gives standard error back; `reason` becomes ": " and the last "ERROR: ..." that was said, or "".
 */
void eq_hush_end(eq_hush_t hush, char* reason, size_t room);

#endif /* EQ_HUSH_H_ */
