/* FIPS 180-4. */
#ifndef EQ_SHA256_H_
#define EQ_SHA256_H_

#include <stddef.h>
#include <stdint.h>

/* Of `count` bytes, as 64 hex digits and a zero byte. */
void eq_sha256(const uint8_t* bytes, size_t count, char digits[65]);

#endif /* EQ_SHA256_H_ */
