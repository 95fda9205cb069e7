"""A stand-in for TensorFlow Lite Micro that fails where it is told to."""

from __future__ import annotations

from pathlib import Path

from exports import write

STUB = r"""
#pragma once
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteNoType, kTfLiteInt8, kTfLiteInt16, kTfLiteInt64 };
struct TfLiteIntArray { int size; int data[4]; };
union TfLitePtrUnion { void* data; };
struct TfLiteTensor { TfLiteType type; TfLitePtrUnion data; TfLiteIntArray* dims; size_t bytes; };
#define TF_LITE_ENSURE_STATUS(a) \
  do { const TfLiteStatus s = (a); if (s != kTfLiteOk) return s; } while (0)
#define TFLITE_SCHEMA_VERSION (3)
#ifndef FAULT
#define FAULT 0
#endif
inline void MicroPrintf(const char* format, ...) {
  va_list a; va_start(a, format); std::vprintf(format, a); va_end(a); std::printf("\n");
}
namespace tflite {
struct Model { unsigned version() const { return FAULT == 1 ? 4 : 3; } };
inline const Model* GetModel(const void*) { static Model model; return &model; }
inline void InitializeTarget() {}
template <unsigned N> struct MicroMutableOpResolver {
  unsigned used = 0;
  TfLiteStatus Add() { return (FAULT == 2 && used == 1) || used++ >= N ? kTfLiteError : kTfLiteOk; }
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddSoftmax() { return Add(); }
  TfLiteStatus AddRelu() { return Add(); }
};
struct MicroAllocator {
  static MicroAllocator* Create(uint8_t*, size_t) {
    static MicroAllocator one;
    return FAULT == 3 ? nullptr : &one;
  }
};
struct MicroResourceVariables {
  static MicroResourceVariables* Create(MicroAllocator*, int) { return nullptr; }
};
struct MicroInterpreter {
  TfLiteIntArray dims{2, {1, 4, 0, 0}};
  int8_t in[4], out[4];
  TfLiteTensor input_{kTfLiteInt8, {in}, &dims, 4}, output_{kTfLiteInt8, {out}, &dims, 4};
  int runs = 0;
  bool fresh = false;
  template <typename R>
  MicroInterpreter(const Model*, R&, MicroAllocator*, MicroResourceVariables*) {}
  TfLiteStatus AllocateTensors() { return FAULT == 4 ? kTfLiteError : kTfLiteOk; }
  TfLiteStatus Reset() { fresh = true; return kTfLiteOk; }
  TfLiteStatus Invoke() {
    for (int i = 0; i < 4; ++i) out[i] = static_cast<int8_t>(in[i] ^ 0x55);
    if (FAULT == 5 && runs == 1) { out[2] = static_cast<int8_t>(out[2] ^ 1); out[3] = 0; }
    ++runs;
    const bool was_fresh = fresh;
    fresh = false;
    return FAULT == 6 || !was_fresh ? kTfLiteError : kTfLiteOk;
  }
  size_t inputs_size() const { return FAULT == 7 ? 2 : 1; }
  size_t outputs_size() const { return 1; }
  TfLiteTensor* input(size_t) { return &input_; }
  TfLiteTensor* output(size_t) { return &output_; }
  size_t arena_used_bytes() const { return 1234; }
};
}  // namespace tflite
"""


def write_stubs(folder: Path) -> None:
    names = [
        f"micro/{n}"
        for n in (
            "micro_allocator micro_interpreter micro_log micro_mutable_op_resolver "
            "micro_resource_variable system_setup"
        ).split()
    ]
    for name in (*names, "c/common", "schema/schema_generated"):
        write(folder, {f"tensorflow/lite/{name}.h": '#include "stub.h"\n'})
    write(folder, {"stub.h": STUB})
