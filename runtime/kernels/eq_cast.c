#include "eq_convert.h"

#include <string.h>

static int32_t load(const uint8_t* from, int32_t size) {
    int16_t half;
    int32_t word;
    switch (size) {
    case 1:
        return (int8_t)*from;
    case 2:
        memcpy(&half, from, sizeof half);
        return half;
    default:
        memcpy(&word, from, sizeof word);
        return word;
    }
}

static void store(uint8_t* to, int32_t size, int32_t value) {
    const int16_t half = (int16_t)value;
    switch (size) {
    case 1:
        *to = (uint8_t)value;
        break;
    case 2:
        memcpy(to, &half, sizeof half);
        break;
    default:
        memcpy(to, &value, sizeof value);
    }
}

void eq_cast(const eq_cast_t* p, const void* input, void* output) {
    const uint8_t* from = input;
    uint8_t* to = output;
    for (int32_t i = 0; i < p->count; i++) {
        store(to, p->output_size, load(from, p->input_size));
        from += p->input_size;
        to += p->output_size;
    }
}
