/* eq run, eq prof and eq layers: inferences, timed as a whole and by layers. */
#include "eq_answers.h"
#include "eq_clock.h"
#include "eq_inference.h"
#include "eq_reply.h"

#include <string.h>

#define RUN_LIMIT 1000000
#define PROFILE_LIMIT 10000
#define TICKS_A_LINE 8

/* How many of the inferences had the outputs of the first. */
typedef struct {
    uint32_t count;
    uint32_t outputs; /* the first's CRC */
} same_t;

static void same_add(same_t* same, const eq_harness_t* harness) {
    uint32_t outputs = eq_outputs_crc(harness);
    if (same->count == 0) {
        same->outputs = outputs;
    }
    same->count += outputs == same->outputs;
}

static void put_same(eq_harness_t* harness, const same_t* same) {
    eq_put_begin(harness, "same");
    eq_put_number(harness, same->count);
    eq_put(harness, ",");
    eq_put_hex32(harness, same->outputs);
    eq_put_close(harness);
}

/* "run-[n,w,crc": what is about to be done, on which inputs. */
static void put_start(eq_harness_t* harness, const char* name, uint32_t first, bool has_second,
                      uint32_t second) {
    eq_put_begin(harness, name);
    eq_put_number(harness, first);
    if (has_second) {
        eq_put_next(harness, second);
    }
    eq_put(harness, ",");
    eq_put_hex32(harness, eq_inputs_crc(harness));
    eq_put_close(harness);
}

int eq_answer_run(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_harness_config_t* config = harness->config;
    uint64_t* ticks = config->ticks;
    uint32_t runs;
    uint32_t warmup = 0;
    same_t same = {0, 0};
    if (!eq_word_number(words[0], &runs) || (count > 1 && !eq_word_number(words[1], &warmup))) {
        return EQ_HARNESS_NUMBER;
    }
    if (runs < 1 || runs > RUN_LIMIT || warmup > RUN_LIMIT) {
        return EQ_HARNESS_RANGE;
    }
    put_start(harness, "run", runs, true, warmup);
    for (uint32_t i = 0; i < warmup; i++) {
        if (i > 0 && eq_is_interrupted(harness)) {
            return EQ_HARNESS_INTERRUPTED;
        }
        eq_infer(harness, NULL, NULL);
        eq_clock_sample(harness);
    }
    for (uint32_t first = 0; first < runs;) {
        uint32_t left = runs - first;
        uint32_t batch = left < config->tick_count ? left : (uint32_t)config->tick_count;
        bool moved = true;
        for (uint32_t i = 0; i < batch; i++) {
            uint64_t start, end;
            if (warmup + first + i > 0 && eq_is_interrupted(harness)) {
                return EQ_HARNESS_INTERRUPTED;
            }
            eq_inputs_place(harness);
            eq_clock_align(harness);
            start = eq_clock_now(harness);
            eq_model_invoke(config->model, config->arena);
            end = eq_clock_now(harness);
            harness->inferred = true;
            ticks[i] = eq_clock_between(harness, start, end);
            moved = moved && ticks[i] > 0;
            eq_clock_sample(harness);
            same_add(&same, harness);
        }
        for (uint32_t i = 0; i < batch; i += TICKS_A_LINE) {
            eq_put_begin(harness, "ticks");
            eq_put_number(harness, first + i);
            for (uint32_t j = i; j < batch && j < i + TICKS_A_LINE; j++) {
                eq_put_next(harness, ticks[j]);
            }
            eq_put_close(harness);
        }
        if (!moved) {
            return EQ_HARNESS_TICKS;
        }
        first += batch;
    }
    put_same(harness, &same);
    return EQ_OK;
}

/* The layers from `first` on, as many as there is room for. */
typedef struct {
    eq_harness_t* harness;
    uint32_t first;
    uint32_t count;
    uint64_t start;
} window_t;

static void time_layer(void* context, const eq_model_t* network, uint16_t layer) {
    window_t* window = context;
    uint64_t now = eq_clock_now(window->harness);
    uint32_t place = layer - window->first;
    (void)network;
    if (place < window->count) {
        window->harness->config->ticks[place] =
            eq_clock_between(window->harness, window->start, now);
    }
    window->start = eq_clock_now(window->harness);
}

static void put_layer_ticks(eq_harness_t* harness, uint32_t inference, const window_t* window,
                            bool* moved) {
    const uint64_t* ticks = harness->config->ticks;
    for (uint32_t i = 0; i < window->count; i += TICKS_A_LINE) {
        eq_put_begin(harness, "layer-ticks");
        eq_put_number(harness, inference);
        eq_put_next(harness, window->first + i);
        for (uint32_t j = i; j < window->count && j < i + TICKS_A_LINE; j++) {
            eq_put_next(harness, ticks[j]);
            *moved = *moved || ticks[j] > 0;
        }
        eq_put_close(harness);
    }
}

int eq_answer_profile(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_harness_config_t* config = harness->config;
    const eq_model_t* network = config->model;
    uint32_t layers = network->layer_count;
    uint32_t runs;
    bool moved = false;
    same_t same = {0, 0};
    (void)count;
    if (!eq_word_number(words[0], &runs)) {
        return EQ_HARNESS_NUMBER;
    }
    if (runs < 1 || runs > PROFILE_LIMIT) {
        return EQ_HARNESS_RANGE;
    }
    put_start(harness, "prof", runs, true, layers);
    for (uint32_t i = 0; i < layers; i++) {
        const eq_layer_t* layer = &network->layers[i];
        eq_put_begin(harness, "layer");
        eq_put_number(harness, i);
        eq_put_next(harness, layer->macs);
        eq_put_next(harness, layer->bytes);
        eq_put(harness, ",");
        eq_put_text(harness, layer->op);
        eq_put(harness, ",");
        eq_put_text(harness, layer->name);
        eq_put_close(harness);
    }
    for (uint32_t first = 0; first < layers;) {
        uint32_t left = layers - first;
        window_t window = {harness, first, 0, 0};
        window.count = left < config->tick_count ? left : (uint32_t)config->tick_count;
        for (uint32_t i = 0; i < runs; i++) {
            if (first + i > 0 && eq_is_interrupted(harness)) {
                return EQ_HARNESS_INTERRUPTED;
            }
            memset(config->ticks, 0, window.count * sizeof *config->ticks);
            eq_inputs_place(harness);
            eq_clock_align(harness);
            window.start = eq_clock_now(harness);
            eq_model_invoke_hooked(network, config->arena, time_layer, &window);
            harness->inferred = true;
            eq_clock_sample(harness);
            if (first == 0) {
                same_add(&same, harness);
            }
            put_layer_ticks(harness, i, &window, &moved);
        }
        first += window.count;
    }
    put_same(harness, &same);
    return moved || layers == 0 ? EQ_OK : EQ_HARNESS_TICKS;
}

static void put_layer_crc(void* context, const eq_model_t* network, uint16_t index) {
    eq_harness_t* harness = context;
    const eq_layer_t* layer = &network->layers[index];
    const uint8_t* data = (const uint8_t*)harness->config->arena + layer->offset;
    eq_put_begin(harness, "layer-crc");
    eq_put_number(harness, index);
    eq_put_next(harness, layer->bytes);
    eq_put(harness, ",");
    eq_put_hex32(harness, eq_crc32(0, data, layer->bytes));
    eq_put_close(harness);
    eq_clock_sample(harness);
}

int eq_answer_layers(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    (void)words;
    (void)count;
    put_start(harness, "layers", harness->config->model->layer_count, false, 0);
    eq_infer(harness, put_layer_crc, harness);
    return EQ_OK;
}
