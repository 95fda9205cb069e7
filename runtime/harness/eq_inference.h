/* The network as the harness runs it: inputs kept apart, outputs read from the arena. */
#ifndef EQ_INFERENCE_H_
#define EQ_INFERENCE_H_

#include "edgeq_harness.h"

/* Of all inputs together. */
uint32_t eq_inputs_bytes(const eq_model_t* model);

/* Where input `index` begins in the harness's copy. */
uint32_t eq_inputs_offset(const eq_model_t* model, uint16_t index);

/* The CRC-32 of all inputs, one after the other; of all outputs. */
uint32_t eq_inputs_crc(const eq_harness_t* harness);
uint32_t eq_outputs_crc(const eq_harness_t* harness);

/* Copies the inputs into the arena: before every inference, which may reuse their place. */
void eq_inputs_place(const eq_harness_t* harness);

/* One inference on the inputs, with the copying. */
void eq_infer(eq_harness_t* harness, eq_layer_hook_t hook, void* context);

/* Whether the host has sent something while it should wait: it has given up. To be asked before
 * each inference but the first, so that none of a million keeps the host out. */
bool eq_is_interrupted(eq_harness_t* harness);

/* Bytes of one element. */
uint32_t eq_dtype_size(uint8_t dtype);

#endif /* EQ_INFERENCE_H_ */
