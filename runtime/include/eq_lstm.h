/* UNIDIRECTIONAL_SEQUENCE_LSTM, with cells of int16 whose zero point is 0.
 *
 * A gate is what the input and the hidden state amount to, both in Q3.12. Formula: TFLM's
 * lstm_internal::LstmStep (lstm_eval.h).
 */
#ifndef EQ_LSTM_H_
#define EQ_LSTM_H_

#include "eq_activation_s16.h"
#include "eq_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Step t of batch b reads the input at (t * time_step + b * batch_step) * input_size, and writes
 * the output at the same place of units.
 */
typedef struct {
    int32_t batches;
    int32_t times;
    int32_t batch_step;
    int32_t time_step;
    int32_t input_size;
    int32_t units;
} eq_lstm_shape_t;

typedef struct {
    int32_t multiplier;
    int32_t shift; /* -31 .. 30 */
} eq_lstm_scale_t;

/* From gates to cells and hidden states. */
typedef struct {
    eq_sigmoid_s16_t gate; /* of values in Q3.12; the count of both is not read */
    eq_sigmoid_s16_t cell; /* of values of the cell's scale, a power of two */
    int32_t cell_limit;    /* 0 .. 32767: cells are kept within -cell_limit .. cell_limit */
    int32_t cell_is_limited;
    eq_lstm_scale_t forgotten; /* forget gate * cell, to the cell's scale */
    eq_lstm_scale_t added;     /* input gate * cell gate, to the cell's scale */
    eq_lstm_scale_t shown;     /* output gate * tanh(cell), to the hidden state's scale */
    int32_t hidden_zero_point;
} eq_lstm_cell_t;

/* Units whose gates are computed together. */
#define EQ_LSTM_BLOCK 16

/* The gates of a block before their functions. */
typedef struct {
    int16_t input[EQ_LSTM_BLOCK];
    int16_t forget[EQ_LSTM_BLOCK];
    int16_t cell[EQ_LSTM_BLOCK];
    int16_t output[EQ_LSTM_BLOCK];
} eq_lstm_gates_t;

/* The new cells of `count` units in place, and what they show: hidden states, not yet limited to
 * their type. Changes the gates.
 */
void eq_lstm_cell(const eq_lstm_cell_t* p, int32_t count, eq_lstm_gates_t* gates, int16_t* cell,
                  int32_t* shown);

/* Adds a product to a gate; both are limited to int16. */
static inline void eq_lstm_add(int16_t* gate, int32_t product) {
    const int32_t limited = eq_clamp(product, INT16_MIN, INT16_MAX);
    *gate = (int16_t)eq_clamp(*gate + limited, INT16_MIN, INT16_MAX);
}

/* A matrix product of int8, with the values' zero point folded into the bias:
 * bias - zero_point * (sum of the unit's weights), modulo 2^32.
 */
typedef struct {
    const int8_t* weights; /* [units][values] */
    const int32_t* bias;   /* [units] */
    int32_t multiplier;
    int32_t shift; /* -31 .. 30 */
} eq_lstm_product_s8_t;

typedef struct {
    eq_lstm_product_s8_t input;
    eq_lstm_product_s8_t hidden;
} eq_lstm_gate_s8_t;

typedef struct {
    eq_lstm_shape_t shape;
    eq_lstm_gate_s8_t input_gate;
    eq_lstm_gate_s8_t forget_gate;
    eq_lstm_gate_s8_t cell_gate;
    eq_lstm_gate_s8_t output_gate;
    eq_lstm_cell_t cell;
} eq_lstm_s8_t;

/* int8 activations. `hidden` and `cell` are [batches][units] and kept between calls; the output has
 * the quantization of `hidden`.
 */
void eq_lstm_s8(const eq_lstm_s8_t* p, const int8_t* input, int8_t* hidden, int16_t* cell,
                int8_t* output);

/* A matrix product of int16 values with the zero point 0 and int8 weights: eq_multiply_s64 of sums
 * within -2^47 .. 2^47 - 1.
 */
typedef struct {
    const int8_t* weights; /* [units][values] */
    const int64_t* bias;   /* [units]; NULL: none */
    int32_t multiplier;    /* 15 bits */
    int32_t shift;         /* -31 .. 7 */
} eq_lstm_product_s16_t;

typedef struct {
    eq_lstm_product_s16_t input;
    eq_lstm_product_s16_t hidden;
} eq_lstm_gate_s16_t;

typedef struct {
    eq_lstm_shape_t shape;
    eq_lstm_gate_s16_t input_gate;
    eq_lstm_gate_s16_t forget_gate;
    eq_lstm_gate_s16_t cell_gate;
    eq_lstm_gate_s16_t output_gate;
    eq_lstm_cell_t cell;
} eq_lstm_s16_t;

/* int16 activations; else as eq_lstm_s8. */
void eq_lstm_s16(const eq_lstm_s16_t* p, const int16_t* input, int16_t* hidden, int16_t* cell,
                 int16_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_LSTM_H_ */
