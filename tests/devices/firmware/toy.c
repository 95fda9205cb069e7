/* A network that a test can compute in Python: three "layers" on bytes, and a past.
 *   layer 0: a = input 0 * 3 + 1                  (24 bytes)
 *   layer 1: b = a + input 1[i % 4] * 5           (24 bytes)
 *   layer 2: c = b ^ (number of inferences before), d = sum of a pair of b
 */
#include "toy.h"

#include <string.h>

#define STATE 0
#define IN0 16
#define IN1 48
#define A 64
#define B 96
#define C 128
#define D 160

static const int32_t shape0[] = {1, 24}, shape1[] = {4}, shape_d[] = {1, 12};

static const eq_tensor_t inputs[] = {
    {"left, [right]", shape0, IN0, 24, -3, 0.5f, EQ_INT8, 2},
    {"gain", shape1, IN1, 4, 0, 0.0f, EQ_INT8, 1},
};

static const eq_tensor_t outputs[] = {
    {"sum", shape0, C, 24, 0, 0.25f, EQ_INT8, 2},
    {"pairs", shape_d, D, 24, 0, 0.25f, EQ_INT16, 2},
};

static const eq_layer_t layers[] = {
    {"MUL", "scale%", A, 24, 24},
    {"ADD", "add gain", B, 24, 0},
    {"CUSTOM", "past", C, 24, 12},
};

static void run(uint8_t* arena, eq_layer_hook_t hook, void* context, const eq_model_t* model) {
    static uint32_t runs;              /* since the last reset */
    volatile uint32_t work = TOY_WORK; /* so that it takes a while */
    runs++;
#ifdef TOY_CRASH_AT
    if (runs == TOY_CRASH_AT) {
        __builtin_trap();
    }
#endif
#ifdef TOY_HANG_AT
    while (runs == TOY_HANG_AT) {
    }
#endif
    for (int i = 0; i < 24; ++i) {
        arena[A + i] = (uint8_t)(arena[IN0 + i] * 3 + 1);
    }
    if (hook != NULL) {
        hook(context, model, 0);
    }
    for (int i = 0; i < 24; ++i) {
        arena[B + i] = (uint8_t)(arena[A + i] + arena[IN1 + i % 4] * 5 + TOY_BUG);
    }
    while (work-- > 0) {
    }
    if (hook != NULL) {
        hook(context, model, 1);
    }
    for (int i = 0; i < 12; ++i) {
        int16_t pair = (int16_t)((int8_t)arena[B + 2 * i] + (int8_t)arena[B + 2 * i + 1]);
        memcpy(arena + D + 2 * i, &pair, 2);
    }
    for (int i = 0; i < 24; ++i) {
        arena[C + i] = (uint8_t)(arena[B + i] ^ arena[STATE]);
    }
    memset(arena + IN0, 0xAA, 36); /* The inputs' place is used again. */
    arena[STATE] = (uint8_t)(arena[STATE] + TOY_KEEPS_STATE);
    if (hook != NULL) {
        hook(context, model, 2);
    }
}

#if TOY_KEEPS_STATE
static void reset(uint8_t* arena) {
    arena[STATE] = 0;
}
#endif

const eq_model_t toy_model = {
    .abi_version = EQ_ABI_VERSION,
    .input_count = 2,
    .output_count = 2,
    .layer_count = 3,
    .name = "toy",
    .sha256 = TOY_SHA256,
    .inputs = inputs,
    .outputs = outputs,
    .layers = layers,
    .arena_size = TOY_ARENA,
    .weights_size = 0,
    .run = run,
#if TOY_KEEPS_STATE
    .reset = reset,
#endif
};
