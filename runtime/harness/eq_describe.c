/* eq info, eq model and eq mem: what firmware, network and board are. */
#include "eq_answers.h"
#include "eq_reply.h"

#include <string.h>

/* The longest command around the bytes of `eq load`:
 * "eq load 65535 4294967295 " " 01234567" " #4294967295*01234567" */
#define LOAD_OVERHEAD (25 + 9 + 21)

int eq_answer_info(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_harness_config_t* config = harness->config;
    const eq_port_t* port = config->port;
    (void)words;
    (void)count;
    eq_put_number_line(harness, "protocol", EQ_PROTOCOL_VERSION);
    eq_put_number_line(harness, "abi", EQ_ABI_VERSION);
    eq_put_begin(harness, "status");
    eq_put_signed(harness, harness->status);
    eq_put(harness, ",");
    eq_put_text(harness, eq_harness_error_text(harness->status));
    eq_put_close(harness);
    eq_put_text_line(harness, "engine", config->engine);
    eq_put_text_line(harness, "target", config->target);
    eq_put_text_line(harness, "board", port->board);
    eq_put_text_line(harness, "tick-source", port->tick_source);
    eq_put_text_line(harness, "tick-unit", port->tick_unit);
    eq_put_number_line(harness, "tick-hz", port->tick_hz);
    eq_put_number_line(harness, "tick-bits", port->tick_bits);
    eq_put_number_line(harness, "tick-overhead", harness->tick_overhead);
    eq_put_number_line(harness, "tick-moves", harness->ticks_move);
    eq_put_number_line(harness, "line", config->line_size);
    eq_put_number_line(harness, "chunk", (config->line_size - LOAD_OVERHEAD) / 2);
    eq_put_number_line(harness, "batch", config->tick_count);
    eq_put_text_line(harness, "input-kind", config->input->name);
    for (size_t i = 0; i < config->fact_count; i++) {
        eq_put_begin(harness, "fact");
        eq_put_text(harness, config->facts[i].name);
        eq_put(harness, ",");
        eq_put_text(harness, config->facts[i].text);
        eq_put_close(harness);
    }
    return EQ_OK;
}

static void put_tensor(eq_harness_t* harness, const char* name, uint16_t index,
                       const eq_tensor_t* tensor) {
    static const char* const dtypes[] = {"?",     "int8",  "int16", "int32",
                                         "int64", "uint8", "bool",  "float32"};
    uint32_t scale;
    memcpy(&scale, &tensor->scale, sizeof scale);
    eq_put_begin(harness, name);
    eq_put_number(harness, index);
    eq_put(harness, ",");
    eq_put(harness, dtypes[tensor->dtype < sizeof dtypes / sizeof *dtypes ? tensor->dtype : 0]);
    eq_put_next(harness, tensor->bytes);
    eq_put(harness, ",");
    for (uint8_t i = 0; i < tensor->rank; i++) {
        if (i > 0) {
            eq_put(harness, "x");
        }
        eq_put_signed(harness, tensor->shape[i]);
    }
    eq_put(harness, ",");
    eq_put_hex32(harness, scale);
    eq_put(harness, ",");
    eq_put_signed(harness, tensor->zero_point);
    eq_put(harness, ",");
    eq_put_text(harness, tensor->name);
    eq_put_close(harness);
}

int eq_answer_model(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_model_t* network = harness->config->model;
    (void)words;
    (void)count;
    eq_put_text_line(harness, "name", network->name);
    eq_put_text_line(harness, "sha256", network->sha256);
    eq_put_number_line(harness, "layers", network->layer_count);
    eq_put_number_line(harness, "arena", network->arena_size);
    eq_put_number_line(harness, "weights", network->weights_size);
    for (uint16_t i = 0; i < network->input_count; i++) {
        put_tensor(harness, "input", i, &network->inputs[i]);
    }
    for (uint16_t i = 0; i < network->output_count; i++) {
        put_tensor(harness, "output", i, &network->outputs[i]);
    }
    return EQ_OK;
}

int eq_answer_memory(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_harness_config_t* config = harness->config;
    eq_memory_t memory;
    (void)words;
    (void)count;
    memset(&memory, 0, sizeof memory);
    if (config->port->memory != NULL) {
        config->port->memory(config->port->context, &memory);
    }
    eq_put_number_line(harness, "arena", config->model->arena_size);
    eq_put_number_line(harness, "weights", config->model->weights_size);
    eq_put_number_line(harness, "harness",
                       sizeof *harness + config->inputs_size + config->db_size + config->line_size +
                           config->tick_count * sizeof *config->ticks);
    eq_put_begin(harness, "stack");
    eq_put_number(harness, memory.stack_used);
    eq_put_next(harness, memory.stack_size);
    eq_put_close(harness);
    eq_put_begin(harness, "flash");
    eq_put_number(harness, memory.flash_used);
    eq_put_next(harness, memory.flash_size);
    eq_put_close(harness);
    eq_put_begin(harness, "ram");
    eq_put_number(harness, memory.ram_used);
    eq_put_next(harness, memory.ram_size);
    eq_put_close(harness);
    eq_put_number_line(harness, "data", memory.data);
    eq_put_number_line(harness, "bss", memory.bss);
    return EQ_OK;
}
