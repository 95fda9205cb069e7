#include "eq_reply.h"

/* Keeps every line within 255 bytes: two texts and five numbers in the longest. */
#define TEXT_LIMIT 96

void eq_put_bytes(eq_harness_t* harness, const char* bytes, size_t count) {
    const eq_port_t* port = harness->config->port;
    if (harness->in_reply) {
        harness->reply_crc = eq_crc32(harness->reply_crc, bytes, count);
    }
    port->write(port->context, bytes, count);
}

void eq_put(eq_harness_t* harness, const char* text) {
    eq_put_bytes(harness, text, eq_text_length(text));
}

void eq_put_number(eq_harness_t* harness, uint64_t number) {
    char digits[20];
    size_t start = sizeof digits;
    do {
        uint32_t digit;
        number = eq_divide(number, 10, &digit);
        digits[--start] = (char)('0' + digit);
    } while (number > 0);
    eq_put_bytes(harness, digits + start, sizeof digits - start);
}

void eq_put_signed(eq_harness_t* harness, int32_t number) {
    if (number < 0) {
        eq_put(harness, "-");
    }
    eq_put_number(harness, number < 0 ? 0u - (uint32_t)number : (uint32_t)number);
}

static char hex_character(uint32_t nibble) {
    return "0123456789abcdef"[nibble & 15];
}

void eq_put_hex(eq_harness_t* harness, const uint8_t* bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char digits[2] = {hex_character(bytes[i] >> 4), hex_character(bytes[i])};
        eq_put_bytes(harness, digits, 2);
    }
}

void eq_put_hex32(eq_harness_t* harness, uint32_t number) {
    char digits[8];
    for (int i = 7; i >= 0; i--) {
        digits[i] = hex_character(number);
        number >>= 4;
    }
    eq_put_bytes(harness, digits, sizeof digits);
}

void eq_put_text(eq_harness_t* harness, const char* text) {
    size_t length = 0;
    for (; text != NULL && *text != '\0'; text++) {
        char character = *text;
        bool plain = character >= ' ' && character <= '~' && character != '%' && character != ',' &&
                     character != '[' && character != ']';
        size_t width = plain ? 1 : 3;
        length += width;
        if (length > TEXT_LIMIT) {
            return;
        }
        if (plain) {
            eq_put_bytes(harness, text, 1);
        } else {
            uint8_t byte = (uint8_t)character;
            eq_put(harness, "%");
            eq_put_hex(harness, &byte, 1);
        }
    }
}

void eq_put_end(eq_harness_t* harness) {
    eq_put(harness, "\r\n");
    if (harness->in_reply) {
        harness->in_reply = false;
        harness->reply_lines++;
    }
}

void eq_put_begin(eq_harness_t* harness, const char* name) {
    harness->in_reply = true;
    eq_put(harness, "m-eq-");
    eq_put(harness, name);
    eq_put(harness, "-[");
}

void eq_put_next(eq_harness_t* harness, uint64_t number) {
    eq_put(harness, ",");
    eq_put_number(harness, number);
}

void eq_put_close(eq_harness_t* harness) {
    eq_put(harness, "]");
    eq_put_end(harness);
}

void eq_put_number_line(eq_harness_t* harness, const char* name, uint64_t number) {
    eq_put_begin(harness, name);
    eq_put_number(harness, number);
    eq_put_close(harness);
}

void eq_put_text_line(eq_harness_t* harness, const char* name, const char* text) {
    eq_put_begin(harness, name);
    eq_put_text(harness, text);
    eq_put_close(harness);
}

void eq_put_error_line(eq_harness_t* harness, int code) {
    eq_put_begin(harness, "error");
    eq_put_signed(harness, code);
    eq_put(harness, ",");
    eq_put_text(harness, eq_harness_error_text(code));
    eq_put_close(harness);
}

const char* eq_harness_error_text(int code) {
#define EQ_HARNESS_CASE(name, value, text)                                                         \
    case name:                                                                                     \
        return text;
    switch (code) {
        EQ_HARNESS_ERROR_LIST(EQ_HARNESS_CASE)
    default:
        return eq_status_text((eq_status_t)code);
    }
#undef EQ_HARNESS_CASE
}
