/* A .tflite in LiteRT as an eq_model_t. */
#ifndef EQ_LITERT_NETWORK_H_
#define EQ_LITERT_NETWORK_H_

#include "edgeq.h"
#include "litert_api.h"

typedef struct {
    int threads;
    bool xnnpack; /* else LiteRT's own optimised kernels */
    bool profile; /* count the operators that no delegate took: for network_count alone */
} network_options_t;

typedef struct {
    eq_model_t model;
    uint8_t* arena; /* LiteRT's own buffers: inputs and outputs, nothing else */
    size_t arena_size;
} network_t;

/* Opens the model of these bytes, which must stay where they are. There is one network a process;
 * else the text says why not. */
bool network_open(network_t* network, const char* library, const char* name, const uint8_t* bytes,
                  size_t count, const network_options_t* options, char* text, size_t room);

/* Operators of the main subgraph, and how many of them a delegate took in one inference of zeros;
 * of a network opened with `profile`. */
bool network_count(const network_t* network, int* operators, int* delegated);

#endif /* EQ_LITERT_NETWORK_H_ */
