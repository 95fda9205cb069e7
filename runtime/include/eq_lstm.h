/* UNIDIRECTIONAL_SEQUENCE_LSTM. */
#ifndef EQ_LSTM_H_
#define EQ_LSTM_H_

#include "eq_activation_s16.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix product to int16 in Q3.12, with the input's zero point folded into the bias:
 * bias - zero_point * (sum of the unit's weights), modulo 2^32.
 */
typedef struct {
    const int8_t* weights; /* [units][values] */
    const int32_t* bias;   /* [units] */
    int32_t multiplier;
    int32_t shift; /* -31 .. 30 */
} eq_lstm_product_t;

/* What the input and the hidden state amount to. */
typedef struct {
    eq_lstm_product_t input;
    eq_lstm_product_t hidden;
} eq_lstm_gate_t;

typedef struct {
    int32_t multiplier;
    int32_t shift; /* -31 .. 30 */
} eq_lstm_scale_t;

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
    eq_lstm_gate_t input_gate;
    eq_lstm_gate_t forget_gate;
    eq_lstm_gate_t cell_gate;
    eq_lstm_gate_t output_gate;
    eq_sigmoid_s16_t gate; /* of values in Q3.12; the count of both is not read */
    eq_sigmoid_s16_t cell; /* of values of the cell's scale, a power of two */
    int32_t cell_limit;    /* 0 .. 32767: cells are kept within -cell_limit .. cell_limit */
    int32_t cell_is_limited;
    eq_lstm_scale_t forgotten; /* forget gate * cell, to the cell's scale */
    eq_lstm_scale_t added;     /* input gate * cell gate, to the cell's scale */
    eq_lstm_scale_t shown;     /* output gate * tanh(cell), to the hidden state's scale */
    int32_t hidden_zero_point;
} eq_lstm_s8_t;

/* int8 activations, int16 cells with the zero point 0. `hidden` and `cell` are [batches][units] and
 * kept between calls; the output has the quantization of `hidden`.
 *
 * Formula: TFLM's lstm_internal::LstmStep (lstm_eval.h).
 */
void eq_lstm_s8(const eq_lstm_s8_t* p, const int8_t* input, int8_t* hidden, int16_t* cell,
                int8_t* output);

#ifdef __cplusplus
}
#endif

#endif /* EQ_LSTM_H_ */
