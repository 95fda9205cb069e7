/* Words of a command, and numbers, hex digits and CRCs in it. */
#ifndef EQ_TEXT_H_
#define EQ_TEXT_H_

#include "edgeq_harness.h"

/* Part of the command's buffer; not ended by a zero. */
typedef struct {
    char* text;
    size_t length;
} eq_word_t;

size_t eq_text_length(const char* text);

bool eq_word_is(eq_word_t word, const char* text);

/* Cuts the next word off `rest`, at spaces. False when there is none; `word` is empty then. */
bool eq_word_next(eq_word_t* rest, eq_word_t* word);

/* As C's atoi, but out of range gives the nearest int32_t. */
int32_t eq_word_atoi(eq_word_t word);

/* A number without sign, in decimal, or false. */
bool eq_word_number(eq_word_t word, uint32_t* number);

/* Eight hex digits, or false. */
bool eq_word_hex32(eq_word_t word, uint32_t* number);

/* 0 to 15, or -1. */
int eq_hex_digit(char character);

/* CRC-32 as of zlib: start with 0, hand the result back for more bytes. */
uint32_t eq_crc32(uint32_t crc, const void* bytes, size_t count);

/* dividend / divisor. Processors without a divider would need a library for the operator. */
uint64_t eq_divide(uint64_t dividend, uint32_t divisor, uint32_t* remainder);

#endif /* EQ_TEXT_H_ */
