#define _POSIX_C_SOURCE 200809L
#include "network.h"

#include "hush.h"
#include "sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Vector code of XNNPACK reads beyond the end of a tensor: XNN_EXTRA_BYTES, 128 at most. */
#define SPARE_BYTES 128
#define PORTS_LIMIT 1000
#define BYTES_LIMIT ((size_t)1 << 31)
#define OPS_LIMIT 1000000

typedef int (*count_t)(void*, size_t*);

static litert_api_t api;
static litert_environment_t* environment;
static litert_model_t* model;
static litert_options_t* options;
static litert_compiled_t* compiled;
static litert_subgraph_t* subgraph;
static litert_signature_t* signature;
static size_t signature_index;
static bool used; /* since the network was compiled: what it keeps may have changed */
static char sha256[65];

/* LiteRT shows no layers. */
static eq_layer_t whole = {"NETWORK", "the whole network", 0, 0, 0};

/* One side of the network: what LiteRT's signature lists, in its order, and the same tensors in
 * the subgraph's order, which is the file's. */
typedef struct {
    size_t count;
    litert_tensor_t** tensors;
    litert_type_t* types;
    size_t* offsets;
    size_t* sizes;
    litert_buffer_t** buffers;
    size_t order_count;
    eq_tensor_t* order;
} side_t;

static side_t inputs, outputs;

static char* message;
static size_t message_room;

static bool fail(const char* what, int status) {
    if (status == 0) {
        snprintf(message, message_room, "%s", what);
    } else {
        snprintf(message, message_room, "%s (LiteRT status %d)", what, status);
    }
    return false;
}

#define TRY(call, what)                                                                            \
    do {                                                                                           \
        int status_ = (call);                                                                      \
        if (status_ != 0) {                                                                        \
            return fail(what, status_);                                                            \
        }                                                                                          \
    } while (0)

static void* room_for(size_t count, size_t size) {
    void* room = calloc(count > 0 ? count : 1, size);
    if (room == NULL) {
        fputs("litert-runner: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return room;
}

/* --- Options ------------------------------------------------------------------------------ */

/* LiteRT's options are TOML in text, under a name. The options free it. */
static bool add_options(const char* identifier, const char* toml) {
    litert_opaque_options_t* opaque = NULL;
    size_t size = strlen(toml) + 1;
    char* copy = room_for(size, 1);
    memcpy(copy, toml, size);
    TRY(api.CreateOpaqueOptions(identifier, copy, free, &opaque), "options are refused");
    TRY(api.AddOpaqueOptions(options, opaque), "options are refused");
    return true;
}

static bool make_options(const network_options_t* wanted) {
    char toml[80];
    snprintf(toml, sizeof toml, "kernel_mode = \"%s\"\nnum_threads = %d\n",
             wanted->xnnpack ? "xnnpack" : "builtin", wanted->threads);
    TRY(api.CreateOptions(&options), "no options");
    TRY(api.SetOptionsHardwareAccelerators(options, LITERT_CPU), "the CPU is refused");
    return add_options("xnnpack", toml) &&
           (!wanted->profile || add_options("runtime_options_string", "enable_profiling = true\n"));
}

/* --- Tensors ------------------------------------------------------------------------------ */

static uint8_t dtype_of(int32_t element, size_t* size) {
    switch (element) {
    case 1:
        *size = 4;
        return EQ_FLOAT32;
    case 2:
        *size = 4;
        return EQ_INT32;
    case 3:
        *size = 1;
        return EQ_UINT8;
    case 4:
        *size = 8;
        return EQ_INT64;
    case 6:
        *size = 1;
        return EQ_BOOL;
    case 7:
        *size = 2;
        return EQ_INT16;
    case 9:
        *size = 1;
        return EQ_INT8;
    default:
        *size = 0;
        return 0;
    }
}

static bool measure(side_t* side, size_t index, const litert_layout_t* layout, size_t* total) {
    litert_type_t* type = &side->types[index];
    const char* name = "?";
    size_t bytes, item;
    int kind;
    api.GetTensorName(side->tensors[index], &name);
    TRY(api.GetTensorTypeId(side->tensors[index], &kind), "a tensor has no type");
    if (kind != LITERT_RANKED) {
        snprintf(message, message_room, "tensor %.200s has no shape", name);
        return false;
    }
    TRY(api.GetRankedTensorType(side->tensors[index], type), "a tensor has no shape");
    type->layout = *layout; /* the file's may leave a dimension open */
    if (dtype_of(type->element, &item) == 0) {
        snprintf(message, message_room, "tensor %.200s is of a type (%d) that nothing here reads",
                 name, (int)type->element);
        return false;
    }
    bytes = item;
    for (unsigned i = 0; i < layout->rank; i++) {
        int32_t dimension = layout->dimensions[i];
        if (dimension < 0 || (dimension > 0 && bytes > BYTES_LIMIT / (size_t)dimension)) {
            snprintf(message, message_room,
                     "tensor %.200s has a size that only an inference tells, or one beyond 2 GiB",
                     name);
            return false;
        }
        bytes *= (size_t)dimension;
    }
    side->offsets[index] = *total;
    side->sizes[index] = bytes;
    *total += (bytes + SPARE_BYTES + LITERT_HOST_ALIGNMENT - 1) / LITERT_HOST_ALIGNMENT *
              LITERT_HOST_ALIGNMENT;
    return *total <= BYTES_LIMIT || fail("inputs and outputs take more than 2 GiB", 0);
}

static bool side_begin(side_t* side, size_t count, size_t order_count) {
    if (count > PORTS_LIMIT || order_count > PORTS_LIMIT) {
        return fail("more than 1000 inputs or outputs", 0);
    }
    side->count = count;
    side->order_count = order_count;
    side->tensors = room_for(count, sizeof *side->tensors);
    side->types = room_for(count, sizeof *side->types);
    side->offsets = room_for(count, sizeof *side->offsets);
    side->sizes = room_for(count, sizeof *side->sizes);
    side->buffers = room_for(count, sizeof *side->buffers);
    side->order = room_for(order_count, sizeof *side->order);
    return true;
}

static bool describe(side_t* side, size_t position, litert_tensor_t* tensor) {
    eq_tensor_t* facts = &side->order[position];
    litert_quantization_t quantization = {0.0f, 0};
    litert_layout_t* layout;
    const char* name = "";
    size_t index, item;
    int kind = 0;
    for (index = 0; index < side->count && side->tensors[index] != tensor;) {
        index++;
    }
    if (index == side->count) {
        return fail("its signature leaves out an input or output of its main subgraph", 0);
    }
    api.GetTensorName(tensor, &name);
    facts->name = name;
    layout = &side->types[index].layout;
    facts->shape = layout->dimensions;
    facts->rank = (uint8_t)layout->rank;
    facts->offset = (uint32_t)side->offsets[index];
    facts->bytes = (uint32_t)side->sizes[index];
    facts->dtype = dtype_of(side->types[index].element, &item);
    if (api.GetQuantizationTypeId(tensor, &kind) == 0 && kind == LITERT_PER_TENSOR &&
        api.GetPerTensorQuantization(tensor, &quantization) == 0) {
        facts->scale = quantization.scale;
        facts->zero_point = (int32_t)quantization.zero_point;
    }
    return true;
}

static bool find_signature(void) {
    size_t main_index = 0, count = 0;
    TRY(api.GetMainModelSubgraphIndex(model, &main_index), "no main subgraph");
    TRY(api.GetModelSubgraph(model, main_index, &subgraph), "no main subgraph");
    TRY(api.GetNumModelSignatures(model, &count), "no signatures");
    for (signature_index = 0; signature_index < count; signature_index++) {
        litert_subgraph_t* found = NULL;
        TRY(api.GetModelSignature(model, signature_index, &signature), "no signature");
        if (api.GetSignatureSubgraph(signature, &found) == 0 && found == subgraph) {
            return true;
        }
    }
    return fail("no signature of it runs its main subgraph", 0);
}

static bool read_sides(size_t* total) {
    size_t count = 0, order_count = 0;
    litert_layout_t* layouts;
    *total = 0;
    TRY(api.GetNumSignatureInputs(signature, &count), "no inputs");
    TRY(api.GetNumSubgraphInputs(subgraph, &order_count), "no inputs");
    if (!side_begin(&inputs, count, order_count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        litert_layout_t layout;
        TRY(api.GetSignatureInputTensorByIndex(signature, i, &inputs.tensors[i]), "no input");
        TRY(api.GetCompiledModelInputTensorLayout(compiled, signature_index, i, &layout),
            "an input has no shape");
        if (!measure(&inputs, i, &layout, total)) {
            return false;
        }
    }
    TRY(api.GetNumSignatureOutputs(signature, &count), "no outputs");
    TRY(api.GetNumSubgraphOutputs(subgraph, &order_count), "no outputs");
    if (!side_begin(&outputs, count, order_count)) {
        return false;
    }
    layouts = room_for(count, sizeof *layouts);
    TRY(api.GetCompiledModelOutputTensorLayouts(compiled, signature_index, count, layouts, true),
        "an output has no shape");
    for (size_t i = 0; i < count; i++) {
        TRY(api.GetSignatureOutputTensorByIndex(signature, i, &outputs.tensors[i]), "no output");
        if (!measure(&outputs, i, &layouts[i], total)) {
            return false;
        }
    }
    free(layouts);
    return true;
}

static bool make_buffers(side_t* side, uint8_t* arena) {
    for (size_t i = 0; i < side->count; i++) {
        TRY(api.CreateTensorBufferFromHostMemory(&side->types[i], arena + side->offsets[i],
                                                 side->sizes[i], NULL, &side->buffers[i]),
            "a buffer is refused");
    }
    return true;
}

static bool describe_sides(void) {
    litert_tensor_t* tensor;
    for (size_t i = 0; i < inputs.order_count; i++) {
        TRY(api.GetSubgraphInput(subgraph, i, &tensor), "no input");
        if (!describe(&inputs, i, tensor)) {
            return false;
        }
    }
    for (size_t i = 0; i < outputs.order_count; i++) {
        TRY(api.GetSubgraphOutput(subgraph, i, &tensor), "no output");
        if (!describe(&outputs, i, tensor)) {
            return false;
        }
    }
    return true;
}

/* --- State -------------------------------------------------------------------------------- */

/* Operators that keep something between inferences, by their codes in TFLite's schema. */
static bool is_stateful(int code) {
    static const int codes[] = {
        16,            /* LSTM */
        24,            /* RNN */
        27,            /* SVDF */
        35,  44,       /* UNIDIRECTIONAL_SEQUENCE_RNN, _LSTM */
        46,  52,       /* BIDIRECTIONAL_SEQUENCE_RNN, _LSTM */
        129, 142, 144, /* CALL_ONCE, VAR_HANDLE, ASSIGN_VARIABLE */
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] == code) {
            return true;
        }
    }
    return false;
}

static bool keeps_state(bool* answer) {
    size_t count = 0;
    *answer = false;
    TRY(api.GetNumModelSubgraphs(model, &count), "no subgraphs");
    for (size_t i = 0; i < count && i < OPS_LIMIT; i++) {
        litert_subgraph_t* one;
        size_t operators = 0;
        TRY(api.GetModelSubgraph(model, i, &one), "no subgraph");
        TRY(api.GetNumSubgraphOps(one, &operators), "no operators");
        for (size_t j = 0; j < operators && j < OPS_LIMIT; j++) {
            litert_op_t* op;
            int code;
            TRY(api.GetSubgraphOp(one, j, &op), "no operator");
            TRY(api.GetOpCode(op, &code), "no operator");
            *answer = *answer || is_stateful(code);
        }
    }
    return true;
}

static bool compile(void) {
    TRY(api.CreateCompiledModel(environment, model, options, &compiled),
        "LiteRT refuses the model");
    used = false;
    return true;
}

/* --- What the harness calls --------------------------------------------------------------- */

static void die(const char* what, int status, const char* reason) {
    fprintf(stderr, "litert-runner: %s (LiteRT status %d)%s\n", what, status, reason);
    exit(EXIT_FAILURE);
}

static void run(uint8_t* arena, eq_layer_hook_t hook, void* context, const eq_model_t* network) {
    int status;
    (void)arena; /* where the buffers are */
    used = true;
    status = api.RunCompiledModel(compiled, signature_index, inputs.count, inputs.buffers,
                                  outputs.count, outputs.buffers);
    if (status != 0) {
        die("an inference failed", status, "");
    }
    if (hook != NULL) {
        hook(context, network, 0);
    }
}

/* LiteRT has no call for it: the network is compiled anew. */
static void reset(uint8_t* arena) {
    static char reason[400];
    eq_hush_t hush;
    int status;
    (void)arena;
    if (!used) {
        return;
    }
    hush = eq_hush_begin();
    api.DestroyCompiledModel(compiled);
    status = api.CreateCompiledModel(environment, model, options, &compiled);
    eq_hush_end(hush, reason, sizeof reason);
    if (status != 0) {
        die("the network could not be compiled anew", status, reason);
    }
    used = false;
}

/* --- Opening ------------------------------------------------------------------------------ */

bool network_open(network_t* network, const char* library, const char* name, const uint8_t* bytes,
                  size_t count, const network_options_t* wanted, char* text, size_t room) {
    bool stateful;
    size_t total;
    void* arena = NULL;
    message = text;
    message_room = room;
    if (!litert_load(&api, library, text, room)) {
        return false;
    }
    TRY(api.CreateEnvironment(0, NULL, &environment), "LiteRT does not start");
    TRY(api.CreateModelFromBuffer(environment, bytes, count, &model),
        "LiteRT does not take it for a model");
    if (!make_options(wanted) || !find_signature() || !keeps_state(&stateful) || !compile() ||
        !read_sides(&total)) {
        return false;
    }
    if (posix_memalign(&arena, LITERT_HOST_ALIGNMENT, total > 0 ? total : 1) != 0) {
        return fail("out of memory", 0);
    }
    memset(arena, 0, total);
    if (!make_buffers(&inputs, arena) || !make_buffers(&outputs, arena) || !describe_sides()) {
        return false;
    }
    if (outputs.order_count == 0) {
        return fail("it has no outputs", 0);
    }
    whole.offset = outputs.order[0].offset;
    whole.bytes = outputs.order[0].bytes;
    eq_sha256(bytes, count, sha256);
    network->arena = arena;
    network->arena_size = total;
    network->model.abi_version = EQ_ABI_VERSION;
    network->model.input_count = (uint16_t)inputs.order_count;
    network->model.output_count = (uint16_t)outputs.order_count;
    network->model.layer_count = 1;
    network->model.layers = &whole;
    network->model.name = name;
    network->model.sha256 = sha256;
    network->model.inputs = inputs.order;
    network->model.outputs = outputs.order;
    network->model.arena_size = 0; /* of activations, which LiteRT does not tell */
    network->model.run = run;
    network->model.reset = stateful ? reset : NULL;
    return true;
}

bool network_count(const network_t* network, int* operators, int* delegated) {
    litert_profiler_t* profiler = NULL;
    litert_event_t* events;
    size_t total = 0;
    int count = 0, own = 0;
    TRY(api.GetNumSubgraphOps(subgraph, &total), "no operators");
    TRY(api.CompiledModelGetProfiler(compiled, &profiler), "no profiler");
    TRY(api.StartProfiler(profiler), "no profiler");
    network->model.run(network->arena, NULL, NULL, &network->model);
    TRY(api.StopProfiler(profiler), "no profile");
    TRY(api.GetNumProfilerEvents(profiler, &count), "no profile");
    if (count < 0 || count > OPS_LIMIT || total > OPS_LIMIT) {
        return fail("no profile", 0);
    }
    events = room_for((size_t)count, sizeof *events);
    TRY(api.GetProfilerEvents(profiler, count, events), "no profile");
    for (int i = 0; i < count; i++) {
        own += events[i].type == LITERT_EVENT_OPERATOR && events[i].tag != NULL &&
               strstr(events[i].tag, "elegate") == NULL && events[i].metadata2 == 0;
    }
    free(events);
    *operators = (int)total;
    *delegated = (int)total > own ? (int)total - own : 0;
    return true;
}
