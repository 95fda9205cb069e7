/* The commands that MLPerf Tiny lacks. runtime/PROTOCOL.md has their lines. */
#include "eq_clock.h"
#include "eq_commands.h"
#include "eq_inference.h"
#include "eq_reply.h"

#include <string.h>

#define RUN_LIMIT 1000000
#define PROFILE_LIMIT 10000
#define TICKS_A_LINE 8
#define BYTES_A_LINE 64

/* The longest command around the bytes of `eq load`:
 * "eq load 65535 4294967295 " " 01234567" " #4294967295*01234567" */
#define LOAD_OVERHEAD (25 + 9 + 21)

/* --- What it is --------------------------------------------------------------------------- */

static int info(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_harness_config_t* config = harness->config;
    const eq_port_t* port = config->port;
    (void)words;
    (void)count;
    eq_put_number_line(harness, "protocol", EQ_PROTOCOL_VERSION);
    eq_put_number_line(harness, "abi", EQ_ABI_VERSION);
    eq_put_begin(harness, "status");
    eq_put_signed(harness, harness->status);
    eq_put(harness, ",");
    eq_put_text(harness, eq_harness_error_text(harness->status));
    eq_put_close(harness);
    eq_put_text_line(harness, "engine", config->engine);
    eq_put_text_line(harness, "target", config->target);
    eq_put_text_line(harness, "board", port->board);
    eq_put_text_line(harness, "tick-source", port->tick_source);
    eq_put_text_line(harness, "tick-unit", port->tick_unit);
    eq_put_number_line(harness, "tick-hz", port->tick_hz);
    eq_put_number_line(harness, "tick-bits", port->tick_bits);
    eq_put_number_line(harness, "tick-overhead", harness->tick_overhead);
    eq_put_number_line(harness, "tick-moves", harness->ticks_move);
    eq_put_number_line(harness, "line", config->line_size);
    eq_put_number_line(harness, "chunk", (config->line_size - LOAD_OVERHEAD) / 2);
    eq_put_number_line(harness, "batch", config->tick_count);
    eq_put_text_line(harness, "input-kind", config->input->name);
    return EQ_OK;
}

static void put_tensor(eq_harness_t* harness, const char* name, uint16_t index,
                       const eq_tensor_t* tensor) {
    static const char* const dtypes[] = {"?",     "int8",  "int16", "int32",
                                         "int64", "uint8", "bool",  "float32"};
    uint32_t scale;
    memcpy(&scale, &tensor->scale, sizeof scale);
    eq_put_begin(harness, name);
    eq_put_number(harness, index);
    eq_put(harness, ",");
    eq_put(harness, dtypes[tensor->dtype < sizeof dtypes / sizeof *dtypes ? tensor->dtype : 0]);
    eq_put_next(harness, tensor->bytes);
    eq_put(harness, ",");
    for (uint8_t i = 0; i < tensor->rank; i++) {
        if (i > 0) {
            eq_put(harness, "x");
        }
        eq_put_signed(harness, tensor->shape[i]);
    }
    eq_put(harness, ",");
    eq_put_hex32(harness, scale);
    eq_put(harness, ",");
    eq_put_signed(harness, tensor->zero_point);
    eq_put(harness, ",");
    eq_put_text(harness, tensor->name);
    eq_put_close(harness);
}

static int model(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_model_t* network = harness->config->model;
    (void)words;
    (void)count;
    eq_put_text_line(harness, "name", network->name);
    eq_put_text_line(harness, "sha256", network->sha256);
    eq_put_number_line(harness, "layers", network->layer_count);
    eq_put_number_line(harness, "arena", network->arena_size);
    eq_put_number_line(harness, "weights", network->weights_size);
    for (uint16_t i = 0; i < network->input_count; i++) {
        put_tensor(harness, "input", i, &network->inputs[i]);
    }
    for (uint16_t i = 0; i < network->output_count; i++) {
        put_tensor(harness, "output", i, &network->outputs[i]);
    }
    return EQ_OK;
}

static int memory(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_harness_config_t* config = harness->config;
    eq_memory_t memory;
    (void)words;
    (void)count;
    memset(&memory, 0, sizeof memory);
    if (config->port->memory != NULL) {
        config->port->memory(config->port->context, &memory);
    }
    eq_put_number_line(harness, "arena", config->model->arena_size);
    eq_put_number_line(harness, "weights", config->model->weights_size);
    eq_put_number_line(harness, "harness",
                       sizeof *harness + config->inputs_size + config->db_size + config->line_size +
                           config->tick_count * sizeof *config->ticks);
    eq_put_begin(harness, "stack");
    eq_put_number(harness, memory.stack_used);
    eq_put_next(harness, memory.stack_size);
    eq_put_close(harness);
    eq_put_begin(harness, "flash");
    eq_put_number(harness, memory.flash_used);
    eq_put_next(harness, memory.flash_size);
    eq_put_close(harness);
    eq_put_begin(harness, "ram");
    eq_put_number(harness, memory.ram_used);
    eq_put_next(harness, memory.ram_size);
    eq_put_close(harness);
    eq_put_number_line(harness, "data", memory.data);
    eq_put_number_line(harness, "bss", memory.bss);
    return EQ_OK;
}

/* --- Bytes in and out --------------------------------------------------------------------- */

/* Turns hex digits into bytes in the place of the digits. */
static bool decode(eq_word_t word) {
    for (size_t i = 0; i < word.length / 2; i++) {
        int high = eq_hex_digit(word.text[2 * i]);
        int low = eq_hex_digit(word.text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        word.text[i] = (char)(high << 4 | low);
    }
    return word.length > 0 && word.length % 2 == 0;
}

static int load(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_harness_config_t* config = harness->config;
    size_t length = words[2].length / 2;
    uint32_t index, offset, crc;
    (void)count;
    if (!eq_word_number(words[0], &index) || !eq_word_number(words[1], &offset)) {
        return EQ_HARNESS_NUMBER;
    }
    if (!eq_word_hex32(words[3], &crc) || !decode(words[2])) {
        return EQ_HARNESS_HEX;
    }
    if (eq_crc32(0, words[2].text, length) != crc) {
        return EQ_HARNESS_CRC;
    }
    if (index >= config->model->input_count || offset > config->model->inputs[index].bytes ||
        length > config->model->inputs[index].bytes - offset) {
        return EQ_HARNESS_RANGE;
    }
    memcpy(config->inputs + eq_inputs_offset(config->model, (uint16_t)index) + offset,
           words[2].text, length);
    eq_put_begin(harness, "loaded");
    eq_put_number(harness, index);
    eq_put_next(harness, offset);
    eq_put_next(harness, length);
    eq_put_close(harness);
    return EQ_OK;
}

static int output(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_harness_config_t* config = harness->config;
    const uint8_t* data;
    uint32_t index, bytes, length;
    uint32_t offset = 0;
    if (!harness->inferred) {
        return EQ_HARNESS_NO_OUTPUT;
    }
    if (!eq_word_number(words[0], &index) || (count > 1 && !eq_word_number(words[1], &offset))) {
        return EQ_HARNESS_NUMBER;
    }
    if (index >= config->model->output_count) {
        return EQ_HARNESS_RANGE;
    }
    bytes = config->model->outputs[index].bytes;
    if (offset > bytes) {
        return EQ_HARNESS_RANGE;
    }
    length = bytes - offset;
    if (count > 2) {
        uint32_t wanted;
        if (!eq_word_number(words[2], &wanted)) {
            return EQ_HARNESS_NUMBER;
        }
        if (wanted > length) {
            return EQ_HARNESS_RANGE;
        }
        length = wanted;
    }
    data = (const uint8_t*)eq_model_output(config->model, config->arena, (uint16_t)index) + offset;
    for (uint32_t i = 0; i < length; i += BYTES_A_LINE) {
        uint32_t part = length - i < BYTES_A_LINE ? length - i : BYTES_A_LINE;
        eq_put_begin(harness, "out");
        eq_put_number(harness, index);
        eq_put_next(harness, offset + i);
        eq_put(harness, ",");
        eq_put_hex(harness, data + i, part);
        eq_put_close(harness);
    }
    eq_put_begin(harness, "out-crc");
    eq_put_number(harness, index);
    eq_put_next(harness, offset);
    eq_put_next(harness, length);
    eq_put(harness, ",");
    eq_put_hex32(harness, eq_crc32(0, data, length));
    eq_put_close(harness);
    return EQ_OK;
}

static int reset(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_model_t* network = harness->config->model;
    (void)words;
    (void)count;
    eq_model_reset(network, harness->config->arena);
    eq_put_number_line(harness, "reset", network->reset != NULL);
    return EQ_OK;
}

/* --- Inferences --------------------------------------------------------------------------- */

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

static int run(eq_harness_t* harness, const eq_word_t* words, size_t count) {
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

static int profile(eq_harness_t* harness, const eq_word_t* words, size_t count) {
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

static int layers(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    (void)words;
    (void)count;
    put_start(harness, "layers", harness->config->model->layer_count, false, 0);
    eq_infer(harness, put_layer_crc, harness);
    return EQ_OK;
}

/* --- Commands ----------------------------------------------------------------------------- */

static int help(eq_harness_t* harness, const eq_word_t* words, size_t count);

#define MOST_WORDS 4

static const struct {
    const char* verb;
    uint8_t least; /* words that follow it */
    uint8_t most;
    bool needs_model;
    int (*answer)(eq_harness_t* harness, const eq_word_t* words, size_t count);
    const char* help;
} commands[] = {
    {"info", 0, 0, false, info, "eq info: firmware, board, clock"},
    {"model", 0, 0, true, model, "eq model: name, SHA-256, inputs, outputs"},
    {"load", 4, 4, true, load, "eq load I OFFSET HEX CRC: bytes of input I"},
    {"run", 1, 2, true, run, "eq run N [W=0]: ticks of N inferences after W untimed ones"},
    {"prof", 1, 1, true, profile, "eq prof N: ticks of each layer"},
    {"layers", 0, 0, true, layers, "eq layers: CRC-32 of each layer's output"},
    {"out", 1, 3, true, output, "eq out I [OFFSET [COUNT]]: bytes of output I"},
    {"mem", 0, 0, true, memory, "eq mem: arena, stack, flash, RAM"},
    {"reset", 0, 0, true, reset, "eq reset: forget the network's state"},
    {"help", 0, 0, false, help, "eq help: this"},
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static int help(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    (void)words;
    (void)count;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        eq_put_text_line(harness, "help", commands[i].help);
    }
    return EQ_OK;
}

static int answer(eq_harness_t* harness, eq_word_t rest) {
    eq_word_t words[MOST_WORDS];
    eq_word_t verb, word;
    size_t count = 0;
    eq_word_next(&rest, &verb);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!eq_word_is(verb, commands[i].verb)) {
            continue;
        }
        while (eq_word_next(&rest, &word)) {
            if (count == MOST_WORDS) {
                return EQ_HARNESS_WORDS;
            }
            words[count++] = word;
        }
        if (count < commands[i].least || count > commands[i].most) {
            return EQ_HARNESS_WORDS;
        }
        if (commands[i].needs_model && harness->status != EQ_OK) {
            return harness->status;
        }
        return commands[i].answer(harness, words, count);
    }
    return EQ_HARNESS_UNKNOWN;
}

/* Takes the trailer "#NUMBER*CRC" off `rest`, which ends where `line` ends. */
static int take_trailer(eq_harness_t* harness, eq_word_t line, eq_word_t* rest) {
    size_t end = rest->length;
    size_t start, star;
    uint32_t number, crc;
    eq_word_t word;
    while (end > 0 && rest->text[end - 1] == ' ') {
        end--;
    }
    for (start = end; start > 0 && rest->text[start - 1] != ' ';) {
        start--;
    }
    if (start == end || rest->text[start] != '#') {
        return EQ_OK;
    }
    for (star = start; star < end && rest->text[star] != '*';) {
        star++;
    }
    if (star == end) {
        return EQ_HARNESS_CRC;
    }
    word.text = rest->text + start + 1;
    word.length = star - start - 1;
    if (!eq_word_number(word, &number)) {
        return EQ_HARNESS_CRC;
    }
    word.text = rest->text + star + 1;
    word.length = end - star - 1;
    if (!eq_word_hex32(word, &crc) ||
        eq_crc32(0, line.text, (size_t)(rest->text + star - line.text)) != crc) {
        return EQ_HARNESS_CRC;
    }
    harness->number = number;
    harness->has_number = true;
    rest->length = start;
    return EQ_OK;
}

void eq_extension_command(eq_harness_t* harness, eq_word_t line, eq_word_t rest) {
    int code;
    harness->has_number = false;
    harness->reply_crc = 0;
    harness->reply_lines = 0;
    code = take_trailer(harness, line, &rest);
    if (code == EQ_OK) {
        code = answer(harness, rest);
    }
    if (code < 0) {
        eq_put_error_line(harness, code);
    }
    eq_put(harness, "m-eq-done-[");
    if (harness->has_number) {
        eq_put_number(harness, harness->number);
    } else {
        eq_put(harness, "-");
    }
    eq_put_next(harness, harness->reply_lines);
    eq_put(harness, ",");
    eq_put_hex32(harness, harness->reply_crc);
    eq_put_close(harness);
}
