// SPDX-License-Identifier: Apache-2.0
//
// The golden check: proves on the device that a network computes, byte for byte, what the host's
// reference computed. For TensorFlow Lite Micro.
//
// It prints PASS or FAIL and returns 0 or 1. edgeq_network.h, generated beside it, says which
// network is meant. In a firmware that has a main() of its own, define EQ_NO_MAIN and call
// edgeq_golden_check() once the board can print.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "edgeq_network.h"
#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_allocator.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/micro_resource_variable.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

#if EQ_NETWORK_VERSION != 1
#error "edgeq_network.h was generated for another main.cc: take both from one bundle"
#endif
#ifndef EQ_NETWORK_ARENA_SIZE
#error "the arena of this network was not measured: define EQ_NETWORK_ARENA_SIZE in bytes"
#endif

namespace {

// Golden values of one tensor: EQ_NETWORK_SAMPLES samples, `bytes` each.
struct Vectors {
    const void* samples;
    std::size_t bytes;

    const unsigned char* sample(std::size_t index) const {
        return static_cast<const unsigned char*>(samples) + index * bytes;
    }
};

const Vectors kInputs[] = {EQ_NETWORK_INPUTS};
const Vectors kOutputs[] = {EQ_NETWORK_OUTPUTS};
constexpr std::size_t kInputCount = sizeof(kInputs) / sizeof(kInputs[0]);
constexpr std::size_t kOutputCount = sizeof(kOutputs) / sizeof(kOutputs[0]);
constexpr std::size_t kSampleCount = EQ_NETWORK_SAMPLES;

// TFLM wants 16 bytes of alignment for the arena, and its kernels for the model.
constexpr std::uintptr_t kAlignment = 16;
alignas(kAlignment) std::uint8_t arena[EQ_NETWORK_ARENA_SIZE];

unsigned Unsigned(std::size_t value) {
    return static_cast<unsigned>(value);
}

int Fail(const char* why) {
    MicroPrintf("FAIL: %s", why);
    return 1;
}

template <typename T>
int Read(const unsigned char* data, std::size_t index) {
    T value;
    std::memcpy(&value, data + index * sizeof(T), sizeof(T));
    return static_cast<int>(value);
}

// Element `index` of `data`, to be printed: an integer's value, or the bits of anything else.
int Element(const unsigned char* data, std::size_t index, TfLiteType type, std::size_t size) {
    switch (type) {
    case kTfLiteInt8:
        return Read<std::int8_t>(data, index);
    case kTfLiteInt16:
        return Read<std::int16_t>(data, index);
    case kTfLiteInt64:
        return Read<std::int64_t>(data, index);
    default:
        return size == 1   ? Read<std::uint8_t>(data, index)
               : size == 2 ? Read<std::uint16_t>(data, index)
                           : Read<std::int32_t>(data, index);
    }
}

std::size_t ElementSize(const TfLiteTensor& tensor) {
    std::size_t elements = 1;
    for (int i = 0; i < tensor.dims->size; ++i) {
        elements *= static_cast<std::size_t>(tensor.dims->data[i]);
    }
    return elements == 0 ? 1 : tensor.bytes / elements;
}

// Whether output `output` of sample `sample` is as expected; prints where it first is not.
bool Equal(const TfLiteTensor& tensor, std::size_t sample, std::size_t output) {
    const auto* got = static_cast<const unsigned char*>(tensor.data.data);
    const unsigned char* expected = kOutputs[output].sample(sample);
    const std::size_t size = ElementSize(tensor);
    const std::size_t count = tensor.bytes / size;
    std::size_t first = count;
    std::size_t differing = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (std::memcmp(got + i * size, expected + i * size, size) != 0) {
            first = differing == 0 ? i : first;
            ++differing;
        }
    }
    if (differing == 0) {
        return true;
    }
    MicroPrintf("sample %u, output %u, index %u: expected %d, got %d (%u of %u values differ)",
                Unsigned(sample), Unsigned(output), Unsigned(first),
                Element(expected, first, tensor.type, size), Element(got, first, tensor.type, size),
                Unsigned(differing), Unsigned(count));
    return false;
}

bool Fits(const TfLiteTensor* tensor, const Vectors& vectors, const char* side, std::size_t index) {
    if (tensor == nullptr) {
        MicroPrintf("%s %u is missing", side, Unsigned(index));
        return false;
    }
    if (tensor->bytes != vectors.bytes) {
        MicroPrintf("%s %u has %u bytes, its golden values have %u", side, Unsigned(index),
                    Unsigned(tensor->bytes), Unsigned(vectors.bytes));
        return false;
    }
    return true;
}

bool AllFit(tflite::MicroInterpreter& interpreter) {
    if (interpreter.inputs_size() != kInputCount || interpreter.outputs_size() != kOutputCount) {
        MicroPrintf("the model has %u inputs and %u outputs, the golden vectors %u and %u",
                    Unsigned(interpreter.inputs_size()), Unsigned(interpreter.outputs_size()),
                    Unsigned(kInputCount), Unsigned(kOutputCount));
        return false;
    }
    for (std::size_t i = 0; i < kInputCount; ++i) {
        if (!Fits(interpreter.input(i), kInputs[i], "input", i)) {
            return false;
        }
    }
    for (std::size_t i = 0; i < kOutputCount; ++i) {
        if (!Fits(interpreter.output(i), kOutputs[i], "output", i)) {
            return false;
        }
    }
    return true;
}

int Run(tflite::MicroInterpreter& interpreter) {
    std::size_t wrong = 0;
    for (std::size_t sample = 0; sample < kSampleCount; ++sample) {
        // A network with state starts every sample from the same state, as on the host.
        if (interpreter.Reset() != kTfLiteOk) {
            return Fail("Reset() failed");
        }
        for (std::size_t i = 0; i < kInputCount; ++i) {
            std::memcpy(interpreter.input(i)->data.data, kInputs[i].sample(sample),
                        kInputs[i].bytes);
        }
        if (interpreter.Invoke() != kTfLiteOk) {
            MicroPrintf("sample %u", Unsigned(sample));
            return Fail("Invoke() failed; if it asks for memory, raise EQ_NETWORK_ARENA_SIZE");
        }
        bool equal = true;
        for (std::size_t i = 0; i < kOutputCount; ++i) {
            equal = Equal(*interpreter.output(i), sample, i) && equal;
        }
        wrong += equal ? 0 : 1;
    }
    MicroPrintf("arena: %u of %u bytes used", Unsigned(interpreter.arena_used_bytes()),
                Unsigned(sizeof(arena)));
    if (wrong != 0) {
        MicroPrintf("FAIL: %u of %u samples differ from %s", Unsigned(wrong),
                    Unsigned(kSampleCount), EQ_NETWORK_REFERENCE);
        return 1;
    }
    MicroPrintf("PASS: %u samples, every output byte as in %s", Unsigned(kSampleCount),
                EQ_NETWORK_REFERENCE);
    return 0;
}

} // namespace

int edgeq_golden_check();

int edgeq_golden_check() {
    MicroPrintf("edgeq golden check of %s, model SHA-256 %s", EQ_NETWORK_NAME, EQ_NETWORK_SHA256);
    if (reinterpret_cast<std::uintptr_t>(EQ_NETWORK_MODEL_DATA) % kAlignment != 0) {
        return Fail("the model's array is not aligned to 16 bytes");
    }
    const tflite::Model* model = tflite::GetModel(EQ_NETWORK_MODEL_DATA);
    if (model->version() != TFLITE_SCHEMA_VERSION) {
        return Fail("the model's schema version is not TFLM's");
    }
    tflite::MicroMutableOpResolver<EQ_NETWORK_OPERATORS> resolver;
    if (EQ_NETWORK_ADD_OPS(resolver) != kTfLiteOk) {
        return Fail("an operator could not be registered");
    }
    tflite::MicroAllocator* allocator = tflite::MicroAllocator::Create(arena, sizeof(arena));
    if (allocator == nullptr) {
        return Fail("the arena is too small: raise EQ_NETWORK_ARENA_SIZE");
    }
    tflite::MicroResourceVariables* variables = nullptr;
    if (EQ_NETWORK_RESOURCE_VARIABLES > 0) {
        variables =
            tflite::MicroResourceVariables::Create(allocator, EQ_NETWORK_RESOURCE_VARIABLES);
    }
    tflite::MicroInterpreter interpreter(model, resolver, allocator, variables);
    if (interpreter.AllocateTensors() != kTfLiteOk) {
        return Fail("AllocateTensors() failed; if it asks for memory, raise EQ_NETWORK_ARENA_SIZE");
    }
    if (!AllFit(interpreter)) {
        return Fail("the golden vectors are not this model's");
    }
    return Run(interpreter);
}

#ifndef EQ_NO_MAIN
int main() {
    tflite::InitializeTarget();
    return edgeq_golden_check();
}
#endif
