#include "eq_compiler.h"
#include "eq_conv_dsp.h"
#include "eq_dsp.h"

/* The sums of two rows that share lanes. */
typedef struct {
    uint32_t both;   /* 256 * A + B */
    uint32_t second; /* B */
} pair_t;

/* The products of four values, as lanes (0, 2) and (1, 3), and the next two words of weights. */
static inline void add_pair(pair_t* pair, uint32_t even, uint32_t odd, const int32_t** weights) {
    uint32_t first;
    uint32_t second;
    eq_load_pair(weights, &first, &second);
    pair->both = eq_add_products(pair->both, first, even);
    pair->second = eq_add_products(pair->second, eq_even_bytes(first), even);
    pair->both = eq_add_products(pair->both, second, odd);
    pair->second = eq_add_products(pair->second, eq_even_bytes(second), odd);
}

static inline void end_pair(pair_t pair, const int32_t* bias, uint32_t* sums) {
    sums[0] = (uint32_t)bias[0] + (uint32_t)((int32_t)(pair.both - pair.second) >> 8);
    sums[1] = (uint32_t)bias[1] + pair.second;
}

/* The products of the next four values and of two pairs of rows. */
static inline void add_step(const int8_t** values, const int32_t** weights, pair_t* pair,
                            pair_t* next) {
    const uint32_t word = eq_load_bytes(*values);
    const uint32_t even = eq_even_bytes(word);
    const uint32_t odd = eq_odd_bytes(word);
    add_pair(pair, even, odd, weights);
    add_pair(next, even, odd, weights);
    *values += 4;
}

/* Out of line, where the loop has all registers. Returns where the next rows begin. */
EQ_NOINLINE static const int32_t* four_rows(const int8_t* values, const int8_t* end,
                                            const int32_t* weights, const int32_t* bias,
                                            uint32_t* sums) {
    pair_t pair = {0, 0};
    pair_t next = {0, 0};
    if (((end - values) & 4) != 0) {
        add_step(&values, &weights, &pair, &next);
    }
    while (values != end) {
        add_step(&values, &weights, &pair, &next);
        add_step(&values, &weights, &pair, &next);
    }
    end_pair(pair, bias, sums);
    end_pair(next, bias + 2, sums + 2);
    return weights;
}

static const int32_t* two_rows(const int8_t* values, const int8_t* end, const int32_t* weights,
                               const int32_t* bias, uint32_t* sums) {
    pair_t pair = {0, 0};
    do {
        const uint32_t word = eq_load_bytes(values);
        add_pair(&pair, eq_even_bytes(word), eq_odd_bytes(word), &weights);
        values += 4;
    } while (values != end);
    end_pair(pair, bias, sums);
    return weights;
}

static uint32_t one_row(const int8_t* values, const int8_t* end, const int32_t* weights,
                        uint32_t sum) {
    do {
        const uint32_t word = eq_load_bytes(values);
        const uint32_t row = (uint32_t)*weights++;
        sum = eq_add_products(sum, eq_even_bytes(row), eq_even_bytes(word));
        sum = eq_add_products(sum, eq_odd_bytes(row), eq_odd_bytes(word));
        values += 4;
    } while (values != end);
    return sum;
}

void eq_dot_s8_dsp(const int8_t* values, int32_t steps, const int32_t* weights, int32_t rows,
                   const int32_t* bias, uint32_t* sums) {
    const int8_t* const end = values + 4 * steps;
    for (; rows >= 4; rows -= 4) {
        weights = four_rows(values, end, weights, bias, sums);
        bias += 4;
        sums += 4;
    }
    if (rows >= 2) {
        weights = two_rows(values, end, weights, bias, sums);
        bias += 2;
        sums += 2;
        rows -= 2;
    }
    if (rows == 1) {
        *sums = one_row(values, end, weights, (uint32_t)*bias);
    }
}
