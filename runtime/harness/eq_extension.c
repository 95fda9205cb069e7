/* The commands that MLPerf Tiny lacks. runtime/PROTOCOL.md has their lines. */
#include "eq_answers.h"
#include "eq_commands.h"
#include "eq_reply.h"

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
    {"info", 0, 0, false, eq_answer_info, "eq info: firmware, board, clock"},
    {"model", 0, 0, true, eq_answer_model, "eq model: name, SHA-256, inputs, outputs"},
    {"load", 4, 4, true, eq_answer_load, "eq load I OFFSET HEX CRC: bytes of input I"},
    {"run", 1, 2, true, eq_answer_run,
     "eq run N [W=0]: ticks of N inferences after W untimed ones"},
    {"prof", 1, 1, true, eq_answer_profile, "eq prof N: ticks of each layer"},
    {"layers", 0, 0, true, eq_answer_layers, "eq layers: CRC-32 of each layer's output"},
    {"out", 1, 3, true, eq_answer_output, "eq out I [OFFSET [COUNT]]: bytes of output I"},
    {"mem", 0, 0, true, eq_answer_memory, "eq mem: arena, stack, flash, RAM"},
    {"reset", 0, 0, true, eq_answer_reset, "eq reset: forget the network's state"},
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
