/* edgeq's harness: answers on a serial line, runs a compiled network and times it. C99, no heap,
 * no libc beyond memcpy and memset. PROTOCOL.md has the lines, ports/template a board to copy.
 *
 *   static eq_harness_t harness;
 *   eq_harness_start(&harness, &config);  // greets the host, whatever it returns
 *   eq_harness_serve(&harness);           // for ever on a board
 */
#ifndef EDGEQ_HARNESS_H_
#define EDGEQ_HARNESS_H_

#include "edgeq.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* PROTOCOL.md's; the host refuses another one. */
#define EQ_PROTOCOL_VERSION 1

/* --- Errors ------------------------------------------------------------------------------- */

/* Beside eq_status_t, whose values they continue. Codes and texts go over the wire. */
#define EQ_HARNESS_ERROR_LIST(X)                                                                   \
    X(EQ_HARNESS_UNKNOWN, -10, "no such eq command")                                               \
    X(EQ_HARNESS_WORDS, -11, "wrong number of words")                                              \
    X(EQ_HARNESS_NUMBER, -12, "not a number")                                                      \
    X(EQ_HARNESS_RANGE, -13, "out of range")                                                       \
    X(EQ_HARNESS_HEX, -14, "bad hex digits")                                                       \
    X(EQ_HARNESS_CRC, -15, "CRC does not match")                                                   \
    X(EQ_HARNESS_TICKS, -16, "the tick source stands still")                                       \
    X(EQ_HARNESS_NO_OUTPUT, -17, "no inference has run yet")                                       \
    X(EQ_HARNESS_CONFIG, -18, "a null pointer or a buffer too small in the configuration")         \
    X(EQ_HARNESS_INTERRUPTED, -19, "interrupted by a byte from the host")

#define EQ_HARNESS_ENUM(name, value, text) name = value,
typedef enum { EQ_HARNESS_ERROR_LIST(EQ_HARNESS_ENUM) EQ_HARNESS_UNUSED_ = 1 } eq_harness_error_t;
#undef EQ_HARNESS_ENUM

/* --- Ports -------------------------------------------------------------------------------- */

/* What `read` returns when it has no byte. */
#define EQ_PORT_EMPTY (-1)  /* nothing has come */
#define EQ_PORT_LOST (-2)   /* bytes were lost here: overrun, framing, parity or noise */
#define EQ_PORT_CLOSED (-3) /* the link is gone for good; eq_harness_serve returns */

/* Bytes; 0 where a port does not know. */
typedef struct {
    uint32_t flash_size;
    uint32_t flash_used; /* code, constants, and the initial values of variables */
    uint32_t ram_size;
    uint32_t ram_used; /* data + bss + stack_size */
    uint32_t data;
    uint32_t bss;
    uint32_t stack_size;
    uint32_t stack_used; /* the most since start */
} eq_memory_t;

/* A board, or a process that stands for one. `context` is handed to every callback. */
typedef struct {
    const char* board;
    const char* tick_source; /* "dwt", "systick", or the timer's name */
    const char* tick_unit;   /* "cycles" or "ns" */
    uint32_t tick_hz;
    uint8_t tick_bits; /* 8 to 64; no inference may take 2^tick_bits ticks */

    /* Free running, wraps at 2^tick_bits. */
    uint64_t (*ticks)(void* context);

    /* Puts the counter at the start of a tick, so that equal work gives equal counts where a tick
     * is longer than an instruction. `ticks` goes on from where it was. May be null. */
    void (*align_ticks)(void* context);

    /* The next byte received, 0 to 255, or one of the above. Must not wait. */
    int (*read)(void* context);

    /* Returns when all bytes are on their way. */
    void (*write)(void* context, const char* bytes, size_t count);

    /* Sleeps until an interrupt, or returns at once; called when `read` had nothing. Must not
     * sleep past a byte that came since, nor stop `ticks`. May be null. */
    void (*idle)(void* context);

    /* MLPerf's energy mode: pulls the timestamp pin low for at least 1 us. Null: performance. */
    void (*pulse)(void* context);

    /* Fills in what it knows of the zeroed `memory`. May be null. */
    void (*memory)(void* context, eq_memory_t* memory);

    void* context;
} eq_port_t;

/* --- Harness ------------------------------------------------------------------------------ */

typedef struct eq_harness eq_harness_t;

/* What MLPerf's `db` command carries, and what `results` says. Link only the one in use. */
typedef struct {
    const char* name;
    uint8_t flip; /* xor between a byte of `db` and the stored one, where these are the same */

    /* Makes the network's inputs from `db`; null where `db` is the inputs. */
    void (*convert)(eq_harness_t* harness);

    /* Prints the numbers between the brackets of m-results. */
    void (*results)(eq_harness_t* harness);
} eq_input_t;

extern const eq_input_t eq_input_raw;     /* kws01, and any network without a benchmark */
extern const eq_input_t eq_input_uint8;   /* ic01, vww01: one more by 128 than the stored int8 */
extern const eq_input_t eq_input_float32; /* ad01: quantized here, answered by the squared error */

/* What an engine says of itself beyond what every engine has: threads, kernels. */
typedef struct {
    const char* name;
    const char* text;
} eq_fact_t;

/* Constant facts, and the buffers, which the caller owns and which outlive the harness. */
typedef struct {
    const eq_port_t* port;
    const eq_model_t* model;
    const eq_input_t* input;
    const char* engine;    /* "aot" */
    const char* target;    /* name of the targets/ file it was built for */
    const char* vendor;    /* MLPerf's name of the device */
    const char* benchmark; /* MLPerf's name of the network: "kws01", "ic01", ... */

    void* arena; /* EQ_ALIGNED */
    size_t arena_size;

    /* All inputs, one after the other: at least the sum of their bytes. Cleared at start. */
    uint8_t* inputs;
    size_t inputs_size;

    /* What `db` fills. With eq_input_float32 4 bytes for each element of input 0, else unused. */
    uint8_t* db;
    size_t db_size;

    /* One command; at least EQ_LINE_SIZE_MIN. Chunks of `eq load` grow with it. */
    char* line;
    size_t line_size;

    /* Counts of inferences between two prints, or of layers; at least 1. */
    uint64_t* ticks;
    size_t tick_count;

    /* May be none. */
    const eq_fact_t* facts;
    size_t fact_count;
} eq_harness_config_t;

#define EQ_LINE_SIZE_MIN 128

struct eq_harness {
    const eq_harness_config_t* config;

    size_t line_length;
    uint8_t line_fault; /* too long, or bytes lost */
    int16_t waiting;    /* what `read` returned and nobody has looked at, or EQ_PORT_EMPTY */

    size_t db_expected; /* of `db load`; 0 before it */
    size_t db_count;

    uint32_t reply_crc; /* of the m-eq- lines so far */
    uint32_t reply_lines;

    uint64_t tick_last;
    uint64_t tick_total; /* since start */
    uint64_t tick_mask;
    uint32_t tick_overhead;

    int16_t status;  /* eq_status_t of the model's start */
    bool ticks_move; /* the counter was seen to count */
    bool inferred;   /* the outputs in the arena are some inference's */
    bool in_reply;   /* an m-eq- line is being written */
    bool has_number; /* the command carried a trailer */
    uint32_t number; /* of the trailer */
};

/* Checks `config`, starts the model and sends the boot banner. Negative is an eq_status_t or an
 * eq_harness_error_t. When the model cannot start the harness answers all the same and says why;
 * after EQ_HARNESS_CONFIG it cannot, and the functions below do nothing. */
int eq_harness_start(eq_harness_t* harness, const eq_harness_config_t* config);

/* Takes what `read` of a port returned: answers when it ends a command. */
void eq_harness_byte(eq_harness_t* harness, int byte);

/* Takes one whole command without its '%'. */
void eq_harness_line(eq_harness_t* harness, const char* line, size_t length);

/* Reads, answers and idles until the port says EQ_PORT_CLOSED. */
void eq_harness_serve(eq_harness_t* harness);

#ifdef __cplusplus
}
#endif

#endif /* EDGEQ_HARNESS_H_ */
