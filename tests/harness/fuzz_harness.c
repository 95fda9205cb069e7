/* libFuzzer: any bytes, any of the networks. The first byte chooses, the rest goes over the link;
 * 0xFE in it stands for lost bytes.
 *
 *   R=../../runtime
 *   clang -std=c11 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -I$R/include \
 *       -I$R/harness -I. fuzz_harness.c stub_model.c host_models.c $R/harness/eq_*.c \
 *       $R/core/eq_*.c -o /tmp/fuzz_harness
 *   python corpus.py unpack /tmp/corpus
 *   /tmp/fuzz_harness -max_total_time=600 -max_len=600 /tmp/corpus
 *
 * With -DREPLAY a program that runs the files it is given, for any compiler.
 *
 * Beside what the sanitizers find: every command is answered, and a line is as long as PROTOCOL.md
 * says and printable.
 */
#include "edgeq_harness.h"
#include "host_models.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t now;
static size_t column;
static char head[16];
static size_t ready, ends;

static uint64_t fuzz_ticks(void* context) {
    (void)context;
    return (now += 1000003) & 0xFFFFFF;
}

static int fuzz_read(void* context) {
    (void)context;
    return EQ_PORT_EMPTY;
}

static void fuzz_write(void* context, const char* bytes, size_t count) {
    (void)context;
    for (size_t i = 0; i < count; i++) {
        char byte = bytes[i];
        if (column < sizeof head) {
            head[column] = byte;
        }
        column++;
        if (byte == '\n') {
            bool long_kind = memcmp(head, "m-results-[", 11) == 0;
            if (column > 255 && !long_kind) {
                abort();
            }
            ready += column == 9 && memcmp(head, "m-ready\r", 8) == 0;
            column = 0;
        } else if ((byte < ' ' || byte > '~') && byte != '\r') {
            abort();
        }
    }
}

/* A number of four digits: commands that would take for ever are not what is looked for. */
static bool is_slow(const uint8_t* data, size_t size) {
    size_t digits = 0;
    for (size_t i = 0; i < size; i++) {
        digits = data[i] >= '0' && data[i] <= '9' ? digits + 1 : 0;
        if (digits == 4 &&
            (i < 4 || (data[i - 4] != '*' && data[i - 4] != '#' && !isxdigit(data[i - 4])))) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const char* const names[] = {"stub", "wide",    "pixels",  "auto",
                                        "many", "foreign", "cramped", "floats"};
    static const size_t lines[] = {128, 160, 640};
    static const size_t batches[] = {1, 3, 64};
    const host_model_t* model;
    eq_harness_t harness;
    size_t line_size, batch;
    if (size == 0) {
        return 0;
    }
    if (memmem(data, size, "run", 3) || memmem(data, size, "infer", 5) ||
        memmem(data, size, "prof", 4)) {
        if (is_slow(data + 1, size - 1)) {
            return -1;
        }
    }
    model = host_model(names[data[0] % 8]);
    line_size = lines[data[0] / 8 % 3];
    batch = batches[data[0] / 24 % 3];
    eq_port_t port = {.board = "host",
                      .tick_source = "made-up",
                      .tick_unit = "cycles",
                      .tick_hz = 1000000,
                      .tick_bits = 24,
                      .ticks = fuzz_ticks,
                      .read = fuzz_read,
                      .write = fuzz_write};
    eq_harness_config_t config = {.port = &port,
                                  .model = model->model,
                                  .input = model->input,
                                  .engine = "aot",
                                  .target = "host",
                                  .vendor = "edgeq",
                                  .benchmark = "kws01",
                                  .arena = aligned_alloc(16, (model->arena_size + 15) / 16 * 16),
                                  .arena_size = model->arena_size,
                                  .inputs = malloc(model->inputs_size),
                                  .inputs_size = model->inputs_size,
                                  .db = malloc(model->db_size),
                                  .db_size = model->db_size,
                                  .line = malloc(line_size),
                                  .line_size = line_size,
                                  .ticks = malloc(batch * sizeof(uint64_t)),
                                  .tick_count = batch};
    memset(config.arena, 0, (model->arena_size + 15) / 16 * 16);
    memset(config.db, 0, model->db_size);
    now = ready = ends = column = 0;
    eq_harness_start(&harness, &config);
    for (size_t i = 1; i < size; i++) {
        const uint8_t* end = memchr(data + i, '%', size - i);
        if (data[0] >= 128 && end != NULL) { /* whole lines, or byte by byte */
            eq_harness_line(&harness, (const char*)data + i, (size_t)(end - data) - i);
            i = (size_t)(end - data);
            ends++;
            continue;
        }
        ends += data[i] == '%';
        eq_harness_byte(&harness, data[i] == 0xFE ? EQ_PORT_LOST : data[i]);
    }
    if (ready != ends + 1) { /* and the banner's */
        abort();
    }
    free(config.arena);
    free(config.inputs);
    free(config.db);
    free(config.line);
    free(config.ticks);
    return 0;
}

#ifdef REPLAY
int main(int argc, char** argv) {
    for (int i = 1; i < argc; i++) {
        static uint8_t data[65536];
        FILE* file = fopen(argv[i], "rb");
        if (file == NULL) {
            return 1;
        }
        LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, file));
        fclose(file);
    }
    printf("%d files\n", argc - 1);
    return 0;
}
#endif
