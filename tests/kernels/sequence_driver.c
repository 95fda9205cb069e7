/* Runs a network that keeps a state: samples on stdin, outputs on stdout, both as raw bytes one
 * after the other; before every RESET_EVERY'th sample the state is reset. Two arenas see the same,
 * and in one every byte that the memory plan calls dead is overwritten after each layer.
 */
#include MODEL_HEADER
#include "dead_ranges.h" /* static const struct { int layer; uint32_t offset, size; } dead[] */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESET_EVERY 5

static void poison(uint8_t* arena, int layer) {
    for (size_t i = 0; i < sizeof dead / sizeof dead[0]; i++) {
        if (dead[i].layer == layer) {
            memset(arena + dead[i].offset, 0xa5 ^ (layer * 31), dead[i].size);
        }
    }
}

static void after_layer(void* context, const eq_model_t* model, uint16_t layer) {
    (void)model;
    poison(context, layer);
}

int main(void) {
    const eq_model_t* model = &MODEL;
    uint8_t* arenas[2];
    for (int i = 0; i < 2; i++) {
        void* arena = NULL;
        if (posix_memalign(&arena, EQ_ARENA_ALIGNMENT, model->arena_size)) {
            return 2;
        }
        memset(arena, 0x5a, model->arena_size);
        if (eq_model_init(model, arena, model->arena_size) != EQ_OK) {
            return 2;
        }
        arenas[i] = arena;
    }
    for (long sample = 0;; sample++) {
        if (sample % RESET_EVERY == 0) {
            eq_model_reset(model, arenas[0]);
            eq_model_reset(model, arenas[1]);
        }
        for (uint16_t i = 0; i < model->input_count; i++) {
            const size_t size = model->inputs[i].bytes;
            void* input = eq_model_input(model, arenas[0], i);
            if (fread(input, 1, size, stdin) != size) {
                free(arenas[0]);
                free(arenas[1]);
                return 0;
            }
            memcpy(eq_model_input(model, arenas[1], i), input, size);
        }
        eq_model_invoke(model, arenas[0]);
        poison(arenas[1], -1);
        eq_model_invoke_hooked(model, arenas[1], after_layer, arenas[1]);
        for (uint16_t i = 0; i < model->output_count; i++) {
            const size_t size = model->outputs[i].bytes;
            const void* output = eq_model_output(model, arenas[0], i);
            if (memcmp(output, eq_model_output(model, arenas[1], i), size) != 0) {
                fputs("the outputs differ when dead memory is overwritten\n", stderr);
                return 3;
            }
            fwrite(output, 1, size, stdout);
        }
    }
}
