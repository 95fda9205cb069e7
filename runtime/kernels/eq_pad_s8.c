#include "eq_shape.h"

#include <string.h>

static int8_t* fill(int8_t* output, int32_t value, int32_t count) {
    memset(output, value, (size_t)count);
    return output + count;
}

/* Fills one side: recursion is as deep as the shape, EQ_PAD_RANK at most. */
static int8_t* side(const eq_pad_t* p, int32_t i, const int8_t** input, int8_t* output) {
    int32_t slice = 1;
    for (int32_t j = i + 1; j < p->rank; j++) {
        slice *= p->before[j] + p->size[j] + p->after[j];
    }
    output = fill(output, p->value, p->before[i] * slice);
    if (i == p->rank - 1) {
        memcpy(output, *input, (size_t)p->size[i]);
        *input += p->size[i];
        output += p->size[i];
    } else {
        for (int32_t j = 0; j < p->size[i]; j++) {
            output = side(p, i + 1, input, output);
        }
    }
    return fill(output, p->value, p->after[i] * slice);
}

void eq_pad_s8(const eq_pad_t* p, const int8_t* input, int8_t* output) {
    side(p, 0, &input, output);
}
