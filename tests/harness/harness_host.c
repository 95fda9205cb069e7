/* The harness as a process: standard input and output are the link, time is made up.
 *
 *   harness_host MODEL [line=N] [batch=N] [bits=N] [step=N] [first=N] [lost=BYTE] [energy]
 *
 * Every reading of the clock is `step` ticks after the one before, from `first` on, modulo 2^bits.
 * The byte `lost` stands for bytes that were lost. Every buffer has exactly the size that it is
 * said to have, so that the address sanitizer sees the first byte beyond.
 */
#include "edgeq_harness.h"
#include "host_models.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t now, step = 7;
static unsigned bits = 32;
static int lost = -1;

static uint64_t host_ticks(void* context) {
    (void)context;
    now += step;
    return bits == 64 ? now : now & (((uint64_t)1 << bits) - 1);
}

static int host_read(void* context) {
    struct pollfd input = {0, POLLIN, 0};
    uint8_t byte;
    (void)context;
    if (poll(&input, 1, 0) == 0) {
        return EQ_PORT_EMPTY;
    }
    if (read(0, &byte, 1) != 1) {
        return EQ_PORT_CLOSED;
    }
    return byte == lost ? EQ_PORT_LOST : byte;
}

static void host_idle(void* context) {
    struct pollfd input = {0, POLLIN, 0};
    (void)context;
    fflush(stdout);
    poll(&input, 1, -1);
}

static void host_write(void* context, const char* bytes, size_t count) {
    (void)context;
    fwrite(bytes, 1, count, stdout);
}

static void host_pulse(void* context) {
    (void)context;
    fputs("(pulse)\r\n", stdout);
}

static void host_memory(void* context, eq_memory_t* memory) {
    (void)context;
    memory->flash_size = 1000;
    memory->stack_used = 5;
}

static void* exactly(size_t size) {
    return size == 0 ? NULL : malloc(size);
}

int main(int argc, char** argv) {
    const host_model_t* model = host_model(argc > 1 ? argv[1] : "stub");
    size_t line_size = 160;
    size_t batch = 4;
    eq_port_t port = {.board = "host",
                      .tick_source = "made-up",
                      .tick_unit = "cycles",
                      .tick_hz = 1000000,
                      .ticks = host_ticks,
                      .read = host_read,
                      .write = host_write,
                      .idle = host_idle,
                      .memory = host_memory};
    if (model == NULL) {
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        unsigned long long number =
            strchr(argv[i], '=') ? strtoull(strchr(argv[i], '=') + 1, 0, 0) : 0;
        if (strncmp(argv[i], "line=", 5) == 0) {
            line_size = (size_t)number;
        } else if (strncmp(argv[i], "batch=", 6) == 0) {
            batch = (size_t)number;
        } else if (strncmp(argv[i], "bits=", 5) == 0) {
            bits = (unsigned)number;
        } else if (strncmp(argv[i], "step=", 5) == 0) {
            step = number;
        } else if (strncmp(argv[i], "first=", 6) == 0) {
            now = number;
        } else if (strncmp(argv[i], "lost=", 5) == 0) {
            lost = (int)number;
        } else if (strcmp(argv[i], "energy") == 0) {
            port.pulse = host_pulse;
        } else {
            return 2;
        }
    }
    port.tick_bits = (uint8_t)bits;
    eq_harness_config_t config = {.port = &port,
                                  .model = model->model,
                                  .input = model->input,
                                  .engine = "aot",
                                  .target = "host",
                                  .vendor = "edgeq",
                                  .benchmark = "kws01",
                                  .arena = aligned_alloc(16, (model->arena_size + 15) / 16 * 16),
                                  .arena_size = model->arena_size,
                                  .inputs = exactly(model->inputs_size),
                                  .inputs_size = model->inputs_size,
                                  .db = exactly(model->db_size),
                                  .db_size = model->db_size,
                                  .line = exactly(line_size),
                                  .line_size = line_size,
                                  .ticks = exactly(batch * sizeof(uint64_t)),
                                  .tick_count = batch};
    eq_harness_t harness;
    eq_harness_start(&harness, &config);
    eq_harness_serve(&harness);
    fflush(stdout);
    free(config.arena);
    free(config.inputs);
    free(config.db);
    free(config.line);
    free(config.ticks);
    return 0;
}
