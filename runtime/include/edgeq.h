/* edgeq's runtime: a compiled network (engine aot) and what calls it. C99, no heap, no global
 * state.
 *
 *   static uint8_t arena[KWS_ARENA_SIZE] EQ_ALIGNED;
 *   eq_model_init(&kws_model, arena, sizeof arena);
 *   memcpy(eq_model_input(&kws_model, arena, 0), samples, kws_model.inputs[0].bytes);
 *   eq_model_invoke(&kws_model, arena);
 *   const int8_t *scores = eq_model_output(&kws_model, arena, 0);
 *
 * Inputs and outputs lie in the arena and share it with everything else: write the inputs before
 * every invoke, read the outputs before the next one. Several models may share one arena in turn,
 * unless one keeps state between calls (see eq_model_reset).
 */
#ifndef EDGEQ_H_
#define EDGEQ_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Generated code and this runtime must have the same number: the generated header compares it, and
 * each network refers to a symbol of eq_model.c with the number in its name. Libraries of two
 * versions would need two eq_model.c, which no linker takes. */
#define EQ_ABI_VERSION 1
#define EQ_ABI_NAMED_(version) eq_abi_##version
#define EQ_ABI_NAMED(version) EQ_ABI_NAMED_(version)
extern const uint8_t EQ_ABI_NAMED(EQ_ABI_VERSION);

#define EQ_ARENA_ALIGNMENT 16
#if defined(__GNUC__)
#define EQ_ALIGNED __attribute__((aligned(EQ_ARENA_ALIGNMENT)))
#else
#define EQ_ALIGNED _Alignas(EQ_ARENA_ALIGNMENT)
#endif

/* --- Status ------------------------------------------------------------------------------- */

#define EQ_STATUS_LIST(X)                                                                          \
    X(EQ_OK, 0, "ok")                                                                              \
    X(EQ_ERROR_ABI, -1, "model and runtime have different versions")                               \
    X(EQ_ERROR_ARENA_SIZE, -2, "arena too small")                                                  \
    X(EQ_ERROR_ARENA_ALIGNMENT, -3, "arena not aligned to 16 bytes")                               \
    X(EQ_ERROR_ARGUMENT, -4, "null pointer")

#define EQ_STATUS_ENUM(name, value, text) name = value,
typedef enum { EQ_STATUS_LIST(EQ_STATUS_ENUM) EQ_STATUS_UNUSED_ = 1 } eq_status_t;
#undef EQ_STATUS_ENUM

/* The text beside the name in EQ_STATUS_LIST. */
const char* eq_status_text(eq_status_t status);

/* --- Models ------------------------------------------------------------------------------- */

typedef enum {
    EQ_INT8 = 1,
    EQ_INT16 = 2,
    EQ_INT32 = 3,
    EQ_INT64 = 4,
    EQ_UINT8 = 5,
    EQ_BOOL = 6,
    EQ_FLOAT32 = 7
} eq_dtype_t;

/* An input or output. real = scale * (stored - zero_point); scale is 0 where it means nothing. */
typedef struct {
    const char* name;
    const int32_t* shape;
    uint32_t offset; /* bytes from the arena's start */
    uint32_t bytes;
    int32_t zero_point;
    float scale;
    uint8_t dtype; /* eq_dtype_t */
    uint8_t rank;
} eq_tensor_t;

/* One step of the straight line, for profiles and for finding the first layer that differs. */
typedef struct {
    const char* op;   /* the TFLite operator, such as "CONV_2D" */
    const char* name; /* the layer's own name */
    uint32_t offset;  /* of its first output in the arena */
    uint32_t bytes;   /* of its first output */
    uint32_t macs;
} eq_layer_t;

typedef struct eq_model eq_model_t;

/* Called after each layer has written its output. */
typedef void (*eq_layer_hook_t)(void* context, const eq_model_t* model, uint16_t layer);

struct eq_model {
    uint16_t abi_version;
    uint16_t input_count;
    uint16_t output_count;
    uint16_t layer_count;
    const char* name;
    const char* sha256; /* of the .tflite it was compiled from, 64 hex digits */
    const eq_tensor_t* inputs;
    const eq_tensor_t* outputs;
    const eq_layer_t* layers;
    uint32_t arena_size;
    uint32_t weights_size; /* bytes of constants that the network brings, for reports */
    /* The layers in order; `hook` may be null. */
    void (*run)(uint8_t* arena, eq_layer_hook_t hook, void* context, const eq_model_t* model);
    /* Sets what the network keeps between calls to its first value; null when it keeps nothing. */
    void (*reset)(uint8_t* arena);
};

/* Checks version, size and alignment, and resets. Call once before the first invoke. */
eq_status_t eq_model_init(const eq_model_t* model, void* arena, size_t arena_size);

/* One inference on what lies in the inputs. */
eq_status_t eq_model_invoke(const eq_model_t* model, void* arena);

/* The same, calling `hook` after each layer. */
eq_status_t eq_model_invoke_hooked(const eq_model_t* model, void* arena, eq_layer_hook_t hook,
                                   void* context);

/* Forgets what the network keeps between calls (LSTM and SVDF states). */
eq_status_t eq_model_reset(const eq_model_t* model, void* arena);

static inline void* eq_model_input(const eq_model_t* model, void* arena, uint16_t index) {
    return (uint8_t*)arena + model->inputs[index].offset;
}

static inline void* eq_model_output(const eq_model_t* model, void* arena, uint16_t index) {
    return (uint8_t*)arena + model->outputs[index].offset;
}

#ifdef __cplusplus
}
#endif

#endif /* EDGEQ_H_ */
