/* A firmware that serves one network, or on a computer a program. edgeq_firmware.h, which edgeq
 * generates, names it:
 *
 *   #include "kws.h"
 *   #define EDGEQ_FIRMWARE_VERSION 1
 *   #define EDGEQ_MODEL kws_model            the eq_model_t
 *   #define EDGEQ_ARENA_SIZE KWS_ARENA_SIZE
 *   #define EDGEQ_INPUT_BYTES 490            of all inputs together
 *   #define EDGEQ_ENGINE "aot"
 *   #define EDGEQ_TARGET "mps2-an386"        a file in targets/
 *
 * and, where the defaults below do not fit, EDGEQ_INPUT (eq_input_raw, eq_input_uint8 or
 * eq_input_float32), EDGEQ_DB_BYTES (with eq_input_float32: 4 for each element of the input),
 * EDGEQ_BENCHMARK, EDGEQ_VENDOR, EDGEQ_LINE_SIZE, EDGEQ_TICK_COUNT.
 */
#include "board.h"
#include "edgeq_firmware.h"

#if EDGEQ_FIRMWARE_VERSION != 1
#error "edgeq_firmware.h was made by another version of edgeq than this runtime"
#endif

#ifndef EDGEQ_INPUT
#define EDGEQ_INPUT eq_input_raw
#endif
#ifndef EDGEQ_DB_BYTES
#define EDGEQ_DB_BYTES 0
#endif
#ifndef EDGEQ_BENCHMARK
#define EDGEQ_BENCHMARK "none"
#endif
#ifndef EDGEQ_VENDOR
#define EDGEQ_VENDOR "edgeq"
#endif
#ifndef EDGEQ_LINE_SIZE
#define EDGEQ_LINE_SIZE 640
#endif
#ifndef EDGEQ_TICK_COUNT
#define EDGEQ_TICK_COUNT 64
#endif

static uint8_t arena[EDGEQ_ARENA_SIZE] EQ_ALIGNED;
static uint8_t inputs[EDGEQ_INPUT_BYTES];
#if EDGEQ_DB_BYTES > 0
static uint8_t db[EDGEQ_DB_BYTES];
#endif
static char line[EDGEQ_LINE_SIZE];
static uint64_t ticks[EDGEQ_TICK_COUNT];

static eq_harness_t harness;
static eq_harness_config_t config = {
    .model = &EDGEQ_MODEL,
    .input = &EDGEQ_INPUT,
    .engine = EDGEQ_ENGINE,
    .target = EDGEQ_TARGET,
    .vendor = EDGEQ_VENDOR,
    .benchmark = EDGEQ_BENCHMARK,
    .arena = arena,
    .arena_size = sizeof arena,
    .inputs = inputs,
    .inputs_size = sizeof inputs,
#if EDGEQ_DB_BYTES > 0
    .db = db,
    .db_size = sizeof db,
#endif
    .line = line,
    .line_size = sizeof line,
    .ticks = ticks,
    .tick_count = EDGEQ_TICK_COUNT,
};

int main(void) {
    config.port = eq_board_start();
    eq_harness_start(&harness, &config);
    eq_harness_serve(&harness);
    return harness.status == EQ_HARNESS_CONFIG;
}
