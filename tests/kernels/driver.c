/* Runs a compiled network on this computer: samples on stdin, outputs on stdout, both as raw bytes
 * one after the other. Each sample runs twice, and the second time every byte of the arena that
 * the memory plan calls dead is overwritten after each layer; the outputs must be the same.
 */
#include MODEL_HEADER
#include "dead_ranges.h" /* static const struct { int layer; uint32_t offset, size; } dead[] */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static size_t total(const eq_tensor_t* tensors, uint16_t count) {
    size_t sum = 0;
    for (uint16_t i = 0; i < count; i++) {
        sum += tensors[i].bytes;
    }
    return sum;
}

static void infer(uint8_t* arena, const uint8_t* inputs, uint8_t* outputs, int poisoned) {
    const eq_model_t* model = &MODEL;
    if (eq_model_init(model, arena, model->arena_size) != EQ_OK) {
        exit(2);
    }
    for (uint16_t i = 0; i < model->input_count; i++) {
        memcpy(eq_model_input(model, arena, i), inputs, model->inputs[i].bytes);
        inputs += model->inputs[i].bytes;
    }
    if (poisoned) {
        poison(arena, -1);
        eq_model_invoke_hooked(model, arena, after_layer, arena);
    } else {
        eq_model_invoke(model, arena);
    }
    for (uint16_t i = 0; i < model->output_count; i++) {
        memcpy(outputs, eq_model_output(model, arena, i), model->outputs[i].bytes);
        outputs += model->outputs[i].bytes;
    }
}

int main(void) {
    const eq_model_t* model = &MODEL;
    const size_t in = total(model->inputs, model->input_count);
    const size_t out = total(model->outputs, model->output_count);
    uint8_t* inputs = malloc(in);
    uint8_t* plain = malloc(out);
    uint8_t* poisoned = malloc(out);
    void* arena = NULL;
    if (!inputs || !plain || !poisoned ||
        posix_memalign(&arena, EQ_ARENA_ALIGNMENT, model->arena_size ? model->arena_size : 1)) {
        return 2;
    }
    memset(arena, 0x5a, model->arena_size);
    while (fread(inputs, 1, in, stdin) == in) {
        infer(arena, inputs, plain, 0);
        infer(arena, inputs, poisoned, 1);
        if (memcmp(plain, poisoned, out) != 0) {
            fputs("the outputs differ when dead memory is overwritten\n", stderr);
            return 3;
        }
        fwrite(plain, 1, out, stdout);
    }
    free(arena);
    free(inputs);
    free(plain);
    free(poisoned);
    return 0;
}
