/* MLPerf Tiny's device protocol (mlcommons/tiny, benchmark/api). Its texts are exact, misspellings
 * and all; runtime/PROTOCOL.md lists where we differ and why.
 */
#include "eq_clock.h"
#include "eq_commands.h"
#include "eq_inference.h"
#include "eq_reply.h"

#define FIRMWARE "ULPMark for tinyML Firmware V0.0.1"
#define WARMUP 10 /* of an `infer` that says nothing about it, whatever `help` says */
#define PRINT_WIDTH 8

bool eq_mlperf_ready(eq_harness_t* harness) {
    if (harness->status == EQ_OK) {
        return true;
    }
    eq_put(harness, "e-[Model: ");
    eq_put(harness, eq_harness_error_text(harness->status));
    eq_put(harness, "]\r\n");
    return false;
}

void eq_mlperf_timestamp(eq_harness_t* harness) {
    const eq_port_t* port = harness->config->port;
    if (port->pulse != NULL) {
        port->pulse(port->context);
        return;
    }
    eq_put(harness, "m-lap-us-");
    eq_put_number(harness, eq_clock_us(harness));
    eq_put_end(harness);
}

static void help(eq_harness_t* harness) {
    eq_put(harness,
           FIRMWARE "\r\n\r\n"
                    "help         : Print this information\r\n"
                    "name         : Print the name of the device\r\n"
                    "timestsamp   : Generate a timetsamp\r\n"
                    "db SUBCMD    : Manipulate a generic byte buffer\r\n"
                    "  load N     : Allocate N bytes and set load counter\r\n"
                    "  db HH[HH]* : Load 8-bit hex byte(s) until N bytes\r\n"
                    "  print [N=16] [offset=0]\r\n"
                    "             : Print N bytes at offset as hex\r\n"
                    "infer N [W=0]: Load input, execute N inferences after W warmup loops\r\n"
                    "results      : Return the result fp32 vector\r\n");
}

/* --- db ----------------------------------------------------------------------------------- */

/* Where `db` writes, and how many bytes fit. */
static uint8_t* db_buffer(const eq_harness_t* harness, uint32_t* size) {
    const eq_harness_config_t* config = harness->config;
    if (harness->status != EQ_OK) {
        *size = 0;
        return NULL;
    }
    if (config->input->convert != NULL) {
        *size = (uint32_t)config->db_size;
        return config->db;
    }
    *size = eq_inputs_bytes(config->model);
    return config->inputs;
}

static void put_two_numbers(eq_harness_t* harness, const char* before, int32_t first,
                            const char* between, uint32_t second) {
    eq_put(harness, before);
    eq_put_signed(harness, first);
    eq_put(harness, between);
    eq_put_number(harness, second);
    eq_put(harness, "\n"); /* no CR: as in the reference */
}

static void db_load(eq_harness_t* harness, eq_word_t rest) {
    eq_word_t word;
    uint32_t size;
    int32_t count;
    if (!eq_word_next(&rest, &word)) {
        eq_put(harness, "e-[Command 'db load' requires the # of bytes]\r\n");
        return;
    }
    db_buffer(harness, &size);
    count = eq_word_atoi(word);
    harness->db_expected = 0;
    harness->db_count = 0;
    if (count == 0) {
        eq_put(harness, "e-[Command 'db load' must be >0 bytes]\r\n");
    } else if (count < 0 || (uint32_t)count > size) {
        put_two_numbers(harness, "Supplied buffer size ", count, " exceeds maximum of ", size);
    } else {
        harness->db_expected = (size_t)count;
        eq_put(harness, "m-[Expecting ");
        eq_put_signed(harness, count);
        eq_put(harness, " bytes]\r\n");
    }
}

static void db_print(eq_harness_t* harness) {
    uint32_t size;
    const uint8_t* buffer = db_buffer(harness, &size);
    size_t count = harness->db_expected;
    for (size_t i = 0; i < count; i++) {
        uint8_t byte = buffer[i] ^ harness->config->input->flip;
        if (i % PRINT_WIDTH == 0) {
            eq_put(harness, "m-buffer-");
        }
        eq_put_hex(harness, &byte, 1);
        eq_put(harness, (i + 1) % PRINT_WIDTH == 0 || i + 1 == count ? "\r\n" : "-");
    }
    if (count % PRINT_WIDTH != 0) {
        eq_put(harness, "\r\n");
    }
}

static void db_bytes(eq_harness_t* harness, eq_word_t word) {
    uint32_t size;
    uint8_t* buffer = db_buffer(harness, &size);
    size_t count = word.length / 2;
    size_t missing = harness->db_expected - harness->db_count;
    if (word.length % 2 != 0) {
        eq_put(harness, "e-[Insufficent number of hex digits]\r\n"); // codespell:ignore
        return;
    }
    if (missing == 0) {
        eq_put(harness, "e-[Command 'db load' must come first]\r\n");
        return;
    }
    if (count > missing) {
        count = missing;
    }
    for (size_t i = 0; i < 2 * count; i += 2) {
        if (eq_hex_digit(word.text[i]) < 0 || eq_hex_digit(word.text[i + 1]) < 0) {
            eq_put(harness, "e-[Invalid hex digit '");
            for (size_t j = i; j < i + 2; j++) {
                char character = word.text[j];
                eq_put_bytes(harness, character > ' ' && character <= '~' ? &character : "?", 1);
            }
            eq_put(harness, "']\r\n");
            return;
        }
    }
    for (size_t i = 0; i < count; i++) {
        int byte = eq_hex_digit(word.text[2 * i]) << 4 | eq_hex_digit(word.text[2 * i + 1]);
        buffer[harness->db_count++] = (uint8_t)byte ^ harness->config->input->flip;
    }
    if (harness->db_count == harness->db_expected) {
        eq_put(harness, "m-load-done\r\n");
    }
}

static void db(eq_harness_t* harness, eq_word_t rest) {
    eq_word_t word;
    if (!eq_word_next(&rest, &word)) {
        eq_put(harness, "e-[Command 'db' requires a subcommand]\r\n");
    } else if (eq_word_is(word, "load")) {
        db_load(harness, rest);
    } else if (eq_word_is(word, "print")) {
        db_print(harness);
    } else {
        db_bytes(harness, word);
    }
}

/* --- infer, results ----------------------------------------------------------------------- */

static void results(eq_harness_t* harness) {
    eq_put(harness, "m-results-[");
    harness->config->input->results(harness);
    eq_put(harness, "]\r\n");
}

/* The reference's th_load_tensor: what did not come whole is reported and otherwise ignored. */
static void load_tensor(eq_harness_t* harness) {
    const eq_harness_config_t* config = harness->config;
    bool convert = config->input->convert != NULL;
    uint32_t element = convert ? 4 : 1;
    uint32_t expected =
        convert ? 4 * config->model->inputs[0].bytes : eq_inputs_bytes(config->model);
    if (harness->db_count != expected) {
        put_two_numbers(harness, "Input db has ", (int32_t)(harness->db_count / element),
                        " elemented, expected ", expected / element);
    } else if (convert) {
        config->input->convert(harness);
    }
}

static void put_count(eq_harness_t* harness, const char* text, int32_t count) {
    eq_put(harness, text);
    eq_put_signed(harness, count);
    eq_put_end(harness);
}

static void infer(eq_harness_t* harness, eq_word_t rest) {
    eq_word_t word;
    int32_t count = 1;
    int32_t warmup = WARMUP;
    uint64_t start;
    if (eq_word_next(&rest, &word)) {
        count = eq_word_atoi(word);
        if (count <= 0) {
            eq_put(harness, "e-[Inference iterations must be >0]\r\n");
            return;
        }
        if (eq_word_next(&rest, &word)) {
            warmup = eq_word_atoi(word);
            if (warmup < 0) {
                eq_put(harness, "e-[Inference warmup must be >=0]\r\n");
                return;
            }
        }
    }
    if (!eq_mlperf_ready(harness)) {
        return;
    }
    load_tensor(harness);
    put_count(harness, "m-warmup-start-", warmup);
    for (int32_t i = 0; i < warmup; i++) {
        if (i > 0 && eq_is_interrupted(harness)) {
            break;
        }
        eq_infer(harness, NULL, NULL);
        eq_clock_sample(harness);
    }
    eq_put(harness, "m-warmup-done\r\n");
    put_count(harness, "m-infer-start-", count);
    eq_mlperf_timestamp(harness);
    start = harness->tick_total;
    for (int32_t i = 0; i < count; i++) {
        if (warmup + i > 0 && eq_is_interrupted(harness)) {
            eq_put(harness, "e-[Interrupted]\r\n");
            return;
        }
        eq_infer(harness, NULL, NULL);
        eq_clock_sample(harness);
    }
    eq_mlperf_timestamp(harness);
    if (harness->tick_total == start) {
        eq_put(harness, "e-[Time stands still]\r\n");
    }
    eq_put(harness, "m-infer-done\r\n");
    results(harness);
}

bool eq_mlperf_command(eq_harness_t* harness, eq_word_t command, eq_word_t rest) {
    const eq_harness_config_t* config = harness->config;
    if (eq_word_is(command, "name")) {
        eq_put(harness, "m-name-dut-[");
        eq_put(harness, config->vendor);
        eq_put(harness, "]\r\n");
    } else if (eq_word_is(command, "timestamp")) {
        eq_mlperf_timestamp(harness);
    } else if (eq_word_is(command, "profile")) {
        eq_put(harness, "m-profile-[" FIRMWARE "]\r\nm-model-[");
        eq_put(harness, config->benchmark);
        eq_put(harness, "]\r\n");
    } else if (eq_word_is(command, "help")) {
        help(harness);
    } else if (eq_word_is(command, "db")) {
        db(harness, rest);
    } else if (eq_word_is(command, "infer")) {
        infer(harness, rest);
    } else if (eq_word_is(command, "results")) {
        if (eq_mlperf_ready(harness)) {
            results(harness);
        }
    } else {
        return false;
    }
    return true;
}
