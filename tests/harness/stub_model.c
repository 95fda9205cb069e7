/* Layer 0 takes the input and wipes its place, layer 1 puts the output there: who forgets to write
 * the input before every inference gets zeros from the second one on. Some inputs do more, so that
 * tests can see what a board does then.
 */
#include "stub_model.h"

#include <string.h>

#define MIDDLE 16

/* So that a layer takes a time that a clock of 16 MHz can see. */
static void spin(uint32_t rounds) {
    for (volatile uint32_t i = 0; i < rounds; i++) {
    }
}

#ifdef STUB_FAULTS
static void recurse(volatile uint32_t* depth) {
    volatile uint32_t frame[16];
    frame[0] = *depth - 1;
    if (frame[0] > 0) {
        recurse(frame);
    }
    frame[1] = frame[0];
}
#endif

static void run(uint8_t* arena, eq_layer_hook_t hook, void* context, const eq_model_t* model) {
    memcpy(arena + MIDDLE, arena, 4);
    memset(arena, 0, 4);
    spin(1000);
    if (memcmp(arena + MIDDLE, "slow", 4) == 0) {
        spin(30000000); /* 2.4 * 10^8 instructions or more: wraps every 24-bit counter */
    }
#ifdef STUB_FAULTS
    if (memcmp(arena + MIDDLE, "dead", 4) == 0) {
        *(volatile uint32_t*)(uintptr_t)0xDEAD0000u = 1;
    }
    if (memcmp(arena + MIDDLE, "deep", 4) == 0) {
        volatile uint32_t depth = 1000000;
        recurse(&depth);
    }
#endif
    if (hook != NULL) {
        hook(context, model, 0);
    }
    memcpy(arena, arena + MIDDLE, 4);
    spin(2000);
    if (hook != NULL) {
        hook(context, model, 1);
    }
}

static const int32_t shape[] = {1, 4};
static const eq_tensor_t input = {"serving_default_x:0", shape, 0, 4, -1, 0.5f, EQ_INT8, 2};
static const eq_tensor_t output = {"StatefulPartitionedCall:0", shape, 0, 4, -1, 0.5f, EQ_INT8, 2};
static const eq_layer_t layers[] = {
    {"COPY", "stub/first", MIDDLE, 4, 0},
    {"COPY", "stub/second", 0, 4, 0},
};

const eq_model_t stub_model = {
    .abi_version = EQ_ABI_VERSION,
    .input_count = 1,
    .output_count = 1,
    .layer_count = 2,
    .name = "stub",
    .sha256 = "57b0000000000000000000000000000000000000000000000000000000000000",
    .inputs = &input,
    .outputs = &output,
    .layers = layers,
    .arena_size = STUB_ARENA_SIZE,
    .weights_size = 0,
    .run = run,
    .reset = NULL,
};
