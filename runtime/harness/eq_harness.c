#include "edgeq_harness.h"

#include "eq_clock.h"
#include "eq_commands.h"
#include "eq_inference.h"
#include "eq_reply.h"

#include <string.h>

#define TERMINATOR '%'
#define ECHO_LIMIT 80 /* MLPerf's EE_CMD_SIZE: what it would have kept of a command */

enum { LINE_WHOLE, LINE_TOO_LONG, LINE_LOST };

/* --- Start -------------------------------------------------------------------------------- */

static bool is_complete(const eq_harness_config_t* config) {
    const eq_port_t* port = config->port;
    return port->board != NULL && port->tick_source != NULL && port->tick_unit != NULL &&
           port->tick_hz > 0 && port->tick_bits >= 8 && port->tick_bits <= 64 &&
           port->ticks != NULL && port->read != NULL && config->model != NULL &&
           config->input != NULL && config->engine != NULL && config->target != NULL &&
           config->vendor != NULL && config->benchmark != NULL && config->arena != NULL &&
           config->inputs != NULL && config->line != NULL &&
           config->line_size >= EQ_LINE_SIZE_MIN && config->ticks != NULL && config->tick_count > 0;
}

/* Only once the model's version is known to be ours. */
static bool is_roomy(const eq_harness_config_t* config) {
    const eq_model_t* model = config->model;
    if (model->output_count == 0 || config->inputs_size < eq_inputs_bytes(model)) {
        return false;
    }
    if (config->input->convert == NULL) {
        return true;
    }
    return model->input_count > 0 && model->inputs[0].dtype == EQ_INT8 && config->db != NULL &&
           config->db_size / 4 >= model->inputs[0].bytes;
}

static int refuse(eq_harness_t* harness) {
    harness->status = EQ_HARNESS_CONFIG;
    eq_put(harness, "e-[");
    eq_put(harness, eq_harness_error_text(EQ_HARNESS_CONFIG));
    eq_put(harness, "]\r\n");
    return EQ_HARNESS_CONFIG;
}

int eq_harness_start(eq_harness_t* harness, const eq_harness_config_t* config) {
    if (harness == NULL) {
        return EQ_HARNESS_CONFIG;
    }
    memset(harness, 0, sizeof *harness);
    harness->status = EQ_HARNESS_CONFIG;
    if (config == NULL || config->port == NULL || config->port->write == NULL) {
        return EQ_HARNESS_CONFIG;
    }
    harness->config = config;
    harness->waiting = EQ_PORT_EMPTY;
    if (!is_complete(config)) {
        return refuse(harness);
    }
    eq_clock_start(harness);
    eq_put(harness, config->port->pulse == NULL ? "m-timestamp-mode-performance\r\n"
                                                : "m-timestamp-mode-energy\r\n");
    eq_mlperf_timestamp(harness);
    harness->status = (int16_t)eq_model_init(config->model, config->arena, config->arena_size);
    if (harness->status == EQ_OK && !is_roomy(config)) {
        return refuse(harness);
    }
    memset(config->inputs, 0, config->inputs_size);
    eq_mlperf_ready(harness);
    eq_put(harness, "m-init-done\r\nm-ready\r\n");
    return harness->status;
}

/* --- Lines -------------------------------------------------------------------------------- */

static void put_unknown(eq_harness_t* harness, eq_word_t word) {
    size_t length = word.length < ECHO_LIMIT ? word.length : ECHO_LIMIT;
    eq_put(harness, "e-[Unknown command: ");
    for (size_t i = 0; i < length; i++) {
        char character = word.text[i];
        eq_put_bytes(harness, character > ' ' && character <= '~' ? &character : "?", 1);
    }
    eq_put(harness, "]\r\n");
}

/* Answers the command in config->line. */
static void answer(eq_harness_t* harness) {
    eq_word_t line = {harness->config->line, harness->line_length};
    eq_word_t rest = line;
    eq_word_t word;
    if (harness->line_fault == LINE_TOO_LONG) {
        eq_put(harness, "e-[Command too long]\r\n");
    } else if (harness->line_fault == LINE_LOST) {
        eq_put(harness, "e-[Receive overrun]\r\n");
    } else if (eq_word_next(&rest, &word)) {
        if (eq_word_is(word, "eq")) {
            eq_extension_command(harness, line, rest);
        } else if (!eq_mlperf_command(harness, word, rest)) {
            put_unknown(harness, word);
        }
    }
    harness->line_length = 0;
    harness->line_fault = LINE_WHOLE;
    eq_put(harness, "m-ready\r\n");
}

void eq_harness_byte(eq_harness_t* harness, int byte) {
    if (harness->status == EQ_HARNESS_CONFIG || byte == EQ_PORT_EMPTY || byte == EQ_PORT_CLOSED) {
        return;
    }
    if (byte == EQ_PORT_LOST) {
        harness->line_fault = LINE_LOST;
    } else if (byte == TERMINATOR) {
        answer(harness);
    } else if (byte == '\r' || byte == '\n') {
        return;
    } else if (harness->line_length < harness->config->line_size) {
        harness->config->line[harness->line_length++] = (char)byte;
    } else if (harness->line_fault == LINE_WHOLE) {
        harness->line_fault = LINE_TOO_LONG;
    }
}

void eq_harness_line(eq_harness_t* harness, const char* line, size_t length) {
    for (size_t i = 0; i < length; i++) {
        eq_harness_byte(harness, (unsigned char)line[i]);
    }
    eq_harness_byte(harness, TERMINATOR);
}

void eq_harness_serve(eq_harness_t* harness) {
    const eq_port_t* port;
    if (harness->status == EQ_HARNESS_CONFIG) {
        return;
    }
    port = harness->config->port;
    for (;;) {
        int byte = harness->waiting;
        harness->waiting = EQ_PORT_EMPTY;
        if (byte == EQ_PORT_EMPTY) {
            byte = port->read(port->context);
        }
        if (byte == EQ_PORT_CLOSED) {
            return;
        }
        if (byte != EQ_PORT_EMPTY) {
            eq_harness_byte(harness, byte);
            continue;
        }
        eq_clock_sample(harness);
        if (port->idle != NULL) {
            port->idle(port->context);
        }
    }
}
