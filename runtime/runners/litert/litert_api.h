/* LiteRT's C API as libLiteRt.so of ai-edge-litert 2.1.6 to 2.3 exports it: only what the runner
 * calls, found when it starts. From litert/c in github.com/google-ai-edge/LiteRT, v2.2.0.
 */
#ifndef LITERT_API_H_
#define LITERT_API_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct litert_environment litert_environment_t;
typedef struct litert_model litert_model_t;
typedef struct litert_options litert_options_t;
typedef struct litert_opaque_options litert_opaque_options_t;
typedef struct litert_compiled litert_compiled_t;
typedef struct litert_subgraph litert_subgraph_t;
typedef struct litert_signature litert_signature_t;
typedef struct litert_tensor litert_tensor_t;
typedef struct litert_op litert_op_t;
typedef struct litert_buffer litert_buffer_t;
typedef struct litert_profiler litert_profiler_t;

#define LITERT_RANK_LIMIT 8
#define LITERT_HOST_ALIGNMENT 64 /* of a buffer in our own memory */
#define LITERT_CPU 1
#define LITERT_RANKED 0
#define LITERT_PER_TENSOR 1

typedef struct {
    unsigned rank : 7;
    unsigned has_strides : 1;
    int32_t dimensions[LITERT_RANK_LIMIT];
    uint32_t strides[LITERT_RANK_LIMIT];
} litert_layout_t;

typedef struct {
    int32_t element; /* TfLiteType */
    litert_layout_t layout;
} litert_type_t;

typedef struct {
    float scale;
    int64_t zero_point;
} litert_quantization_t;

#define LITERT_EVENT_OPERATOR 2 /* OPERATOR_INVOKE_EVENT */

typedef struct {
    const char* tag;
    int32_t type;
    uint64_t start_us, elapsed_us;
    size_t memory_before[3], memory_after[3];
    uint64_t metadata1, metadata2;
    int32_t source;
} litert_event_t;

/* What each returns is 0 or an error. Handles are made by `Create` and given away. */
#define LITERT_FUNCTIONS(X)                                                                        \
    X(CreateEnvironment, (int, const void*, litert_environment_t**))                               \
    X(CreateModelFromBuffer, (litert_environment_t*, const void*, size_t, litert_model_t**))       \
    X(CreateOptions, (litert_options_t**))                                                         \
    X(SetOptionsHardwareAccelerators, (litert_options_t*, int))                                    \
    X(CreateOpaqueOptions, (const char*, void*, void (*)(void*), litert_opaque_options_t**))       \
    X(AddOpaqueOptions, (litert_options_t*, litert_opaque_options_t*))                             \
    X(CreateCompiledModel,                                                                         \
      (litert_environment_t*, litert_model_t*, litert_options_t*, litert_compiled_t**))            \
    X(GetMainModelSubgraphIndex, (litert_model_t*, size_t*))                                       \
    X(GetNumModelSubgraphs, (litert_model_t*, size_t*))                                            \
    X(GetModelSubgraph, (litert_model_t*, size_t, litert_subgraph_t**))                            \
    X(GetNumSubgraphInputs, (litert_subgraph_t*, size_t*))                                         \
    X(GetSubgraphInput, (litert_subgraph_t*, size_t, litert_tensor_t**))                           \
    X(GetNumSubgraphOutputs, (litert_subgraph_t*, size_t*))                                        \
    X(GetSubgraphOutput, (litert_subgraph_t*, size_t, litert_tensor_t**))                          \
    X(GetNumSubgraphOps, (litert_subgraph_t*, size_t*))                                            \
    X(GetSubgraphOp, (litert_subgraph_t*, size_t, litert_op_t**))                                  \
    X(GetOpCode, (litert_op_t*, int*))                                                             \
    X(GetNumModelSignatures, (litert_model_t*, size_t*))                                           \
    X(GetModelSignature, (litert_model_t*, size_t, litert_signature_t**))                          \
    X(GetSignatureSubgraph, (litert_signature_t*, litert_subgraph_t**))                            \
    X(GetNumSignatureInputs, (litert_signature_t*, size_t*))                                       \
    X(GetSignatureInputTensorByIndex, (litert_signature_t*, size_t, litert_tensor_t**))            \
    X(GetNumSignatureOutputs, (litert_signature_t*, size_t*))                                      \
    X(GetSignatureOutputTensorByIndex, (litert_signature_t*, size_t, litert_tensor_t**))           \
    X(GetTensorName, (litert_tensor_t*, const char**))                                             \
    X(GetTensorTypeId, (litert_tensor_t*, int*))                                                   \
    X(GetRankedTensorType, (litert_tensor_t*, litert_type_t*))                                     \
    X(GetQuantizationTypeId, (litert_tensor_t*, int*))                                             \
    X(GetPerTensorQuantization, (litert_tensor_t*, litert_quantization_t*))                        \
    X(GetCompiledModelInputTensorLayout, (litert_compiled_t*, size_t, size_t, litert_layout_t*))   \
    X(GetCompiledModelOutputTensorLayouts,                                                         \
      (litert_compiled_t*, size_t, size_t, litert_layout_t*, bool))                                \
    X(CreateTensorBufferFromHostMemory,                                                            \
      (const litert_type_t*, void*, size_t, void (*)(void*), litert_buffer_t**))                   \
    X(RunCompiledModel,                                                                            \
      (litert_compiled_t*, size_t, size_t, litert_buffer_t**, size_t, litert_buffer_t**))          \
    X(CompiledModelGetProfiler, (litert_compiled_t*, litert_profiler_t**))                         \
    X(StartProfiler, (litert_profiler_t*))                                                         \
    X(StopProfiler, (litert_profiler_t*))                                                          \
    X(GetNumProfilerEvents, (litert_profiler_t*, int*))                                            \
    X(GetProfilerEvents, (litert_profiler_t*, int, litert_event_t*))

#define LITERT_FIELD(name, arguments) int(*name) arguments;
typedef struct {
    LITERT_FUNCTIONS(LITERT_FIELD)
    void (*DestroyCompiledModel)(litert_compiled_t*);
} litert_api_t;
#undef LITERT_FIELD

/* Finds all of it in the library; else the text says which is missing or what is wrong. */
bool litert_load(litert_api_t* api, const char* library, char* text, size_t room);

#endif /* LITERT_API_H_ */
