#include "eq_text.h"

/* More than any text has. Without a bound GCC makes a call of strlen of the loop. */
#define LENGTH_LIMIT 4096

size_t eq_text_length(const char* text) {
    size_t length = 0;
    while (length < LENGTH_LIMIT && text[length] != '\0') {
        length++;
    }
    return length;
}

bool eq_word_is(eq_word_t word, const char* text) {
    size_t i = 0;
    for (; i < word.length; i++) {
        if (text[i] == '\0' || text[i] != word.text[i]) {
            return false;
        }
    }
    return text[i] == '\0';
}

bool eq_word_next(eq_word_t* rest, eq_word_t* word) {
    while (rest->length > 0 && *rest->text == ' ') {
        rest->text++;
        rest->length--;
    }
    word->text = rest->text;
    word->length = 0;
    while (rest->length > 0 && *rest->text != ' ') {
        rest->text++;
        rest->length--;
        word->length++;
    }
    return word->length > 0;
}

int32_t eq_word_atoi(eq_word_t word) {
    const char* text = word.text;
    const char* end = word.text + word.length;
    bool negative = false;
    uint32_t value = 0;
    while (text < end && (*text == ' ' || (*text >= '\t' && *text <= '\r'))) {
        text++;
    }
    if (text < end && (*text == '-' || *text == '+')) {
        negative = *text++ == '-';
    }
    for (; text < end && *text >= '0' && *text <= '9'; text++) {
        uint32_t digit = (uint32_t)(*text - '0');
        if (value > (INT32_MAX - digit) / 10) {
            return negative ? INT32_MIN : INT32_MAX;
        }
        value = value * 10 + digit;
    }
    return negative ? -(int32_t)value : (int32_t)value;
}

bool eq_word_number(eq_word_t word, uint32_t* number) {
    uint32_t value = 0;
    for (size_t i = 0; i < word.length; i++) {
        uint32_t digit = (uint32_t)(unsigned char)word.text[i] - '0';
        if (digit > 9 || value > (UINT32_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *number = value;
    return word.length > 0;
}

bool eq_word_hex32(eq_word_t word, uint32_t* number) {
    uint32_t value = 0;
    for (size_t i = 0; i < word.length; i++) {
        int digit = eq_hex_digit(word.text[i]);
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (uint32_t)digit;
    }
    *number = value;
    return word.length == 8;
}

int eq_hex_digit(char character) {
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    if (character >= 'a' && character <= 'f') {
        return character - 'a' + 10;
    }
    if (character >= 'A' && character <= 'F') {
        return character - 'A' + 10;
    }
    return -1;
}

uint32_t eq_crc32(uint32_t crc, const void* bytes, size_t count) {
    /* By half bytes: a table of 64 bytes instead of 1 KiB. */
    static const uint32_t table[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu,
                                       0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
                                       0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                       0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    const uint8_t* byte = bytes;
    crc = ~crc;
    while (count-- > 0) {
        crc ^= *byte++;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

uint64_t eq_divide(uint64_t dividend, uint32_t divisor, uint32_t* remainder) {
    uint64_t quotient = 0;
    uint64_t rest = 0;
    if (dividend <= UINT32_MAX) {
        uint32_t low = (uint32_t)dividend;
        *remainder = low % divisor;
        return low / divisor;
    }
    for (int bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (dividend >> bit & 1);
        if (rest >= divisor) {
            rest -= divisor;
            quotient |= (uint64_t)1 << bit;
        }
    }
    *remainder = (uint32_t)rest;
    return quotient;
}
