#include "host_models.h"

#include "stub_model.h"

#include <string.h>

static const int32_t flat_12[] = {1, 12};
static const int32_t flat_6[] = {6};

/* --- wide: 12 bytes through one layer, in place ------------------------------------------- */

static void wide_run(uint8_t* arena, eq_layer_hook_t hook, void* context, const eq_model_t* model) {
    uint8_t copy[12];
    memcpy(copy, arena, sizeof copy);
    memset(arena, 0, sizeof copy);
    memcpy(arena + 4, copy, sizeof copy);
    if (hook != NULL) {
        hook(context, model, 0);
    }
}

static const eq_tensor_t wide_input = {"pixels", flat_12, 0, 12, -128, 1 / 255.0f, EQ_INT8, 2};
static const eq_tensor_t wide_output = {"same", flat_12, 4, 12, -128, 0.00390625f, EQ_INT8, 2};
static const eq_layer_t wide_layers[] = {{"COPY", "wide", 4, 12, 12}};
static const eq_model_t wide = {EQ_ABI_VERSION, 1,           1,  1, "wide",   "00", &wide_input,
                                &wide_output,   wide_layers, 16, 0, wide_run, NULL};

/* --- auto: six bytes through one layer that adds one to the last --------------------------- */

static void auto_run(uint8_t* arena, eq_layer_hook_t hook, void* context, const eq_model_t* model) {
    arena[5]++;
    if (hook != NULL) {
        hook(context, model, 0);
    }
}

static const eq_tensor_t auto_input = {"x", flat_6, 0, 6, 4, 0.5f, EQ_INT8, 1};
static const eq_layer_t auto_layers[] = {{"COPY", "auto", 0, 6, 6}};
static const eq_model_t automatic = {
    EQ_ABI_VERSION, 1,           1,  1, "auto",   "00", &auto_input,
    &auto_input,    auto_layers, 16, 0, auto_run, NULL};

/* --- many: two inputs, an output of each type, 70 layers, a state -------------------------- */

#define MANY_LAYERS 70
#define MANY_INPUTS 16 /* offset of the outputs: inputs are 3 + 8 bytes */

static const int32_t flat_3[] = {3};
static const int32_t shape_2x2[] = {2, 2};
static const int32_t flat_2[] = {2};
static const eq_tensor_t many_inputs[] = {
    {"first", flat_3, 0, 3, 0, 1.0f, EQ_INT8, 1},
    {"second", shape_2x2, 4, 8, 0, 0.001f, EQ_INT16, 2},
};
static const eq_tensor_t many_outputs[] = {
    {"a", flat_2, 16, 2, -3, 0.1f, EQ_INT8, 1},   {"b", flat_2, 20, 4, 0, 0.25f, EQ_INT16, 1},
    {"c", flat_2, 24, 8, 0, 0.5f, EQ_INT32, 1},   {"d", flat_2, 32, 16, 0, 0.0f, EQ_INT64, 1},
    {"e", flat_2, 48, 2, 128, 2.0f, EQ_UINT8, 1}, {"f", flat_2, 50, 2, 0, 0.0f, EQ_BOOL, 1},
    {"g", flat_2, 52, 8, 0, 0.0f, EQ_FLOAT32, 1}, {"h", NULL, 60, 1, 0, 0.0f, 99, 0},
};
static eq_layer_t many_layers[MANY_LAYERS];
static uint8_t many_state;

static void many_run(uint8_t* arena, eq_layer_hook_t hook, void* context, const eq_model_t* model) {
    static const float floats[2] = {-1.5f, 3.25f};
    many_state++;
    for (uint16_t i = 0; i < MANY_LAYERS; i++) {
        memset(arena + 64, i, 4);
        if (i == MANY_LAYERS - 1) {
            int16_t second[4];
            int32_t words[2];
            int64_t wide_words[2];
            memcpy(second, arena + 4, sizeof second);
            words[0] = second[0];
            words[1] = second[3];
            wide_words[0] = -second[0];
            wide_words[1] = INT64_MAX;
            memcpy(arena + 16, arena, 2);
            memcpy(arena + 20, second, 4);
            memcpy(arena + 24, words, sizeof words);
            memcpy(arena + 32, wide_words, sizeof wide_words);
            arena[48] = arena[2];
            arena[49] = many_state;
            arena[50] = 0;
            arena[51] = 1;
            memcpy(arena + 52, floats, sizeof floats);
            arena[60] = 77;
            memset(arena, 0xEE, 12);
        }
        if (hook != NULL) {
            hook(context, model, i);
        }
    }
}

static void many_reset(uint8_t* arena) {
    (void)arena;
    many_state = 0;
}

static const eq_model_t many = {EQ_ABI_VERSION,
                                2,
                                8,
                                MANY_LAYERS,
                                "many [of] them, 100%\n\xC3\xA4",
                                "00",
                                many_inputs,
                                many_outputs,
                                many_layers,
                                80,
                                1234567,
                                many_run,
                                many_reset};

/* --- models that must not start ------------------------------------------------------------ */

/* Its ABI is another one: nothing behind the first field may be looked at. */
static const eq_model_t foreign = {EQ_ABI_VERSION + 1,
                                   9999,
                                   9999,
                                   9999,
                                   (const char*)8,
                                   (const char*)8,
                                   NULL,
                                   NULL,
                                   NULL,
                                   1,
                                   1,
                                   NULL,
                                   NULL};

static const host_model_t models[] = {
    {"stub", &stub_model, &eq_input_raw, 4, 0, STUB_ARENA_SIZE},
    {"wide", &wide, &eq_input_raw, 12, 0, 16},
    {"pixels", &wide, &eq_input_uint8, 12, 0, 16},
    {"auto", &automatic, &eq_input_float32, 6, 24, 16},
    {"floats", &wide, &eq_input_float32, 12, 48, 16},
    {"many", &many, &eq_input_raw, 11, 0, 80},
    {"foreign", &foreign, &eq_input_raw, 4, 0, 16},
    {"cramped", &stub_model, &eq_input_raw, 4, 0, STUB_ARENA_SIZE - 1},
    {"short", &stub_model, &eq_input_raw, 3, 0, STUB_ARENA_SIZE},
    {"short-db", &automatic, &eq_input_float32, 6, 23, 16},
};

const host_model_t* host_model(const char* name) {
    static const char* const names[] = {
        "stem/conv2d;stem/batch_normalization/FusedBatchNormV3;stem/relu/Relu;a/name/longer/than/a"
        "/line/has/room/for/because/converters/write/such",
        "weights[0],%", "", NULL};
    for (size_t i = 0; i < MANY_LAYERS; i++) {
        many_layers[i] = (eq_layer_t){"CONV_2D", names[i % 4], 64, 4, (uint32_t)i};
    }
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (strcmp(models[i].name, name) == 0) {
            return &models[i];
        }
    }
    return NULL;
}
