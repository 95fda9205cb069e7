#include "eq_inference.h"

#include "eq_text.h"

#include <string.h>

uint32_t eq_inputs_bytes(const eq_model_t* model) {
    return eq_inputs_offset(model, model->input_count);
}

uint32_t eq_inputs_offset(const eq_model_t* model, uint16_t index) {
    uint32_t offset = 0;
    for (uint16_t i = 0; i < index; i++) {
        offset += model->inputs[i].bytes;
    }
    return offset;
}

uint32_t eq_inputs_crc(const eq_harness_t* harness) {
    const eq_harness_config_t* config = harness->config;
    return eq_crc32(0, config->inputs, eq_inputs_bytes(config->model));
}

uint32_t eq_outputs_crc(const eq_harness_t* harness) {
    const eq_harness_config_t* config = harness->config;
    const eq_model_t* model = config->model;
    uint32_t crc = 0;
    for (uint16_t i = 0; i < model->output_count; i++) {
        crc = eq_crc32(crc, eq_model_output(model, config->arena, i), model->outputs[i].bytes);
    }
    return crc;
}

void eq_inputs_place(const eq_harness_t* harness) {
    const eq_harness_config_t* config = harness->config;
    const eq_model_t* model = config->model;
    const uint8_t* from = config->inputs;
    for (uint16_t i = 0; i < model->input_count; i++) {
        memcpy(eq_model_input(model, config->arena, i), from, model->inputs[i].bytes);
        from += model->inputs[i].bytes;
    }
}

void eq_infer(eq_harness_t* harness, eq_layer_hook_t hook, void* context) {
    const eq_harness_config_t* config = harness->config;
    eq_inputs_place(harness);
    eq_model_invoke_hooked(config->model, config->arena, hook, context);
    harness->inferred = true;
}

bool eq_is_interrupted(eq_harness_t* harness) {
    const eq_port_t* port = harness->config->port;
    while (harness->waiting == EQ_PORT_EMPTY) {
        int byte = port->read(port->context);
        if (byte == EQ_PORT_EMPTY) {
            return false;
        }
        if (byte != '\r' && byte != '\n') { /* a person pressed Enter behind the '%' */
            harness->waiting = (int16_t)byte;
        }
    }
    return true;
}

uint32_t eq_dtype_size(uint8_t dtype) {
    switch (dtype) {
    case EQ_INT16:
        return 2;
    case EQ_INT32:
    case EQ_FLOAT32:
        return 4;
    case EQ_INT64:
        return 8;
    default:
        return 1;
    }
}
