/* eq load, eq out and eq reset: bytes in and out. */
#include "eq_answers.h"
#include "eq_inference.h"
#include "eq_reply.h"

#include <string.h>

#define BYTES_A_LINE 64

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

int eq_answer_load(eq_harness_t* harness, const eq_word_t* words, size_t count) {
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

int eq_answer_output(eq_harness_t* harness, const eq_word_t* words, size_t count) {
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

int eq_answer_reset(eq_harness_t* harness, const eq_word_t* words, size_t count) {
    const eq_model_t* network = harness->config->model;
    (void)words;
    (void)count;
    eq_model_reset(network, harness->config->arena);
    eq_put_number_line(harness, "reset", network->reset != NULL);
    return EQ_OK;
}
