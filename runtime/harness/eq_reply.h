/* What the harness writes. Bytes of an m-eq- line are counted in its reply's CRC. */
#ifndef EQ_REPLY_H_
#define EQ_REPLY_H_

#include "edgeq_harness.h"
#include "eq_text.h"

void eq_put_bytes(eq_harness_t* harness, const char* bytes, size_t count);
void eq_put(eq_harness_t* harness, const char* text);
void eq_put_number(eq_harness_t* harness, uint64_t number);
void eq_put_signed(eq_harness_t* harness, int32_t number);
void eq_put_hex(eq_harness_t* harness, const uint8_t* bytes, size_t count);
void eq_put_hex32(eq_harness_t* harness, uint32_t number);

/* TEXT of PROTOCOL.md: percent-encoded, cut at 96 characters. Null is empty. */
void eq_put_text(eq_harness_t* harness, const char* text);

/* CR LF. Ends an m-eq- line, if this is one. */
void eq_put_end(eq_harness_t* harness);

/* Begins "m-eq-<name>-[". */
void eq_put_begin(eq_harness_t* harness, const char* name);

/* A comma and a number. */
void eq_put_next(eq_harness_t* harness, uint64_t number);

/* "]" and the end of the line. */
void eq_put_close(eq_harness_t* harness);

/* Whole m-eq- lines. */
void eq_put_number_line(eq_harness_t* harness, const char* name, uint64_t number);
void eq_put_text_line(eq_harness_t* harness, const char* name, const char* text);
void eq_put_error_line(eq_harness_t* harness, int code);

/* The text of an eq_status_t or eq_harness_error_t. */
const char* eq_harness_error_text(int code);

#endif /* EQ_REPLY_H_ */
