"""C99 and C++11 for TensorFlow Lite Micro: the model as an array, its operators, its I/O.

<name>_model_data.h .cc .c   the array, 16-byte aligned, and its length
<name>_ops.h                 a MicroMutableOpResolver of exactly the model's operators
<name>_io.h                  shapes, types, scales, zero points, labels, arena, quantizing
<name>_golden.h              golden inputs and outputs
edgeq_network.h              fixed names for the above, for main.cc
main.cc, edgeq_quantize.h    from runtime/, as they are
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq import resources
from edgeq.codegen.facts import Export, check, has_quantization
from edgeq.codegen.text import banner, c_string, comment, describe, float_literal, rows
from edgeq.errors import DoesNotFit
from edgeq.graph import Graph, Port, Tensor

QUANTIZE_VERSION = 1
"""EQ_QUANTIZE_VERSION of the runtime/include/edgeq_quantize.h that the code is made for."""

NETWORK_VERSION = 1
"""EQ_NETWORK_VERSION of the runtime/tflm/main.cc that edgeq_network.h is made for."""

_C_TYPES = {
    "bool": "uint8_t",  # One byte, 0 or 1.
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float16": "uint16_t",  # Its bits: C has no such type.
    "float32": "float",
    "float64": "double",
}

_BITS = {"float16": np.uint16, "float32": np.uint32, "float64": np.uint64, "bool": np.uint8}
"""Types whose golden values are written as bits, so that NaN and -0 are exact too."""

_BYTE = [f"0x{b:02x}" for b in range(256)]


def generate(export: Export, adders: Mapping[str, str]) -> dict[str, str | bytes]:
    """The files by name. `adders` maps an operator to its resolver method: {"ADD": "AddAdd"}.

    Raises DoesNotFit for an operator that is not in `adders`, ModelError for inputs or outputs
    that C cannot hold.
    """
    check(export)
    name = export.name
    files = {
        f"{name}_model_data.h": _model_data_header(export),
        f"{name}_model_data.cc": _model_data_cc(export),
        f"{name}_model_data.c": _model_data_c(export),
        f"{name}_ops.h": _ops(export, adders),
        "edgeq_network.h": _network(export),
        "main.cc": _runtime("tflm", "main.cc"),
    }
    return files | io_files(export, has_interpreter=True)


def io_files(export: Export, *, has_interpreter: bool) -> dict[str, str | bytes]:
    """The headers that engine aot has, too: inputs and outputs, quantizing, golden vectors.

    With `has_interpreter` they tell the arena of TensorFlow Lite Micro's. Raises ModelError for
    inputs or outputs that C cannot hold.
    """
    check(export)
    return {
        f"{export.name}_io.h": _io(export, has_interpreter),
        f"{export.name}_golden.h": _golden(export),
        "edgeq_quantize.h": _runtime("include", "edgeq_quantize.h"),
    }


def _runtime(*parts: str) -> str:
    return resources.path("runtime", *parts).read_text(encoding="utf-8")


def _header(export: Export, guard: str, about: Sequence[str], body: str) -> str:
    return (
        banner(export, about)
        + f"// clang-format off\n\n#ifndef {guard}\n#define {guard}\n\n"
        + body
        + f"\n#endif  // {guard}\n"
    )


# --- The model as an array ----------------------------------------------------------------------


def _model_data_header(export: Export) -> str:
    name, upper = export.name, export.name.upper()
    about = [
        "The model as an array. Compile the .cc or, without C++, the .c: they define the same."
    ]
    body = f"""\
#define {upper}_MODEL_DATA_SIZE {len(export.tflite)}
#define {upper}_MODEL_SHA256 {c_string(export.sha256)}

// Where the array is placed. Nothing: with the other constants, which linker scripts put in flash.
// Else it stands behind the array's declarator, for example, to move it to external flash,
// -DEQ_MODEL_SECTION='__attribute__((section(".qspi_rodata")))'
#ifndef EQ_MODEL_SECTION
#define EQ_MODEL_SECTION
#endif

#ifdef __cplusplus
extern "C" {{
#endif

// Without its length here: C would pad or cut an array of another length to fit.
extern const unsigned char g_{name}_model_data[];
extern const unsigned int g_{name}_model_data_size;
extern const unsigned int g_{name}_model_data_len;

#ifdef __cplusplus
}}  // extern "C"
#endif
"""
    return _header(export, f"{upper}_MODEL_DATA_H_", about, body)


def _model_data_cc(export: Export) -> str:
    name, upper = export.name, export.name.upper()
    about = ["The model as an array, in C++11. Compile this file or the .c, not both."]
    return f"""\
{banner(export, about)}// clang-format off

#include "{name}_model_data.h"

// The .tflite file, {len(export.tflite)} bytes. TFLM's kernels read weights from it in place, so it
// must be aligned; unaligned, some cores fault and others are slow.
alignas(16) const unsigned char g_{name}_model_data[] EQ_MODEL_SECTION = {{
{_bytes(export.tflite)}}};

static_assert(sizeof(g_{name}_model_data) == {upper}_MODEL_DATA_SIZE,
              "{name}_model_data.h is of another model: take both from one bundle");

const unsigned int g_{name}_model_data_size = {upper}_MODEL_DATA_SIZE;
const unsigned int g_{name}_model_data_len = {upper}_MODEL_DATA_SIZE;
"""


def _model_data_c(export: Export) -> str:
    name, upper = export.name, export.name.upper()
    about = ["The model as an array, in C99. Compile this file or the .cc, not both."]
    return f"""\
{banner(export, about)}// clang-format off

#include "{name}_model_data.h"

// C99 has no word for alignment; C11 and the compilers have.
#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define EQ_ALIGN_16 _Alignas(16)
#elif defined(__GNUC__) || defined(__clang__) || defined(__ARMCC_VERSION)
#define EQ_ALIGN_16 __attribute__((aligned(16)))
#else
#error "this compiler cannot align the model to 16 bytes: use C11, or the .cc file"
#endif

// The .tflite file, {len(export.tflite)} bytes. TFLM's kernels read weights from it in place, so it
// must be aligned; unaligned, some cores fault and others are slow.
EQ_ALIGN_16 const unsigned char g_{name}_model_data[] EQ_MODEL_SECTION = {{
{_bytes(export.tflite)}}};

// An array of -1 elements, which no compiler takes, when {name}_model_data.h is of another model.
typedef char {name}_model_data_has_its_size[
    sizeof(g_{name}_model_data) == {upper}_MODEL_DATA_SIZE ? 1 : -1];

const unsigned int g_{name}_model_data_size = {upper}_MODEL_DATA_SIZE;
const unsigned int g_{name}_model_data_len = {upper}_MODEL_DATA_SIZE;
"""


def _bytes(data: bytes) -> str:
    return rows([_BYTE[b] for b in data], "    ")


# --- Its operators ------------------------------------------------------------------------------


def _ops(export: Export, adders: Mapping[str, str]) -> str:
    name, upper = export.name, export.name.upper()
    uses = Counter(op.name for _, subgraph in export.graph.reachable() for op in subgraph.ops)
    missing = sorted(op for op in uses if not adders.get(op))
    if missing:
        raise DoesNotFit(
            f"TensorFlow Lite Micro lacks the operator {comment(', '.join(missing))}",
            hint="edgeq inspect --target cortex-m4 shows where the model uses it",
        )
    methods: dict[str, list[str]] = {}
    for op in sorted(uses, key=lambda op: (adders[op], op)):
        methods.setdefault(adders[op], []).append(f"{op} ({uses[op]}x)")
    calls = "".join(
        f"  TF_LITE_ENSURE_STATUS(resolver.{method}());  // {comment(', '.join(ops))}\n"
        for method, ops in methods.items()
    )
    about = ["The operators that the model uses, and no others. C++, needs TensorFlow Lite Micro."]
    body = f"""\
#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

#define {upper}_NUMBER_OPERATORS {len(methods)}

#ifndef EQ_NO_SHORT_NAMES  // Define it where the headers of two models meet in one file.
constexpr unsigned int kNumberOperators = {upper}_NUMBER_OPERATORS;
#endif

// Registers them; anything but kTfLiteOk is the first error.
inline TfLiteStatus {name}_add_ops(
    tflite::MicroMutableOpResolver<{upper}_NUMBER_OPERATORS>& resolver) {{
{calls}  return kTfLiteOk;
}}
"""
    return _header(export, f"{upper}_OPS_H_", about, body)


# --- Its inputs and outputs ---------------------------------------------------------------------


def _io(export: Export, has_interpreter: bool) -> str:
    name, upper = export.name, export.name.upper()
    graph = export.graph
    ports = "".join(
        _port(name, side, i, port)
        for side, side_ports in (("input", graph.inputs), ("output", graph.outputs))
        for i, port in enumerate(side_ports)
    )
    about = [
        "What goes into the model and what comes out, by the position that input(i) and output(i)",
        "of the interpreter take. C99 and C++11.",
    ]
    body = f"""\
#include "edgeq_quantize.h"

#if EQ_QUANTIZE_VERSION != {QUANTIZE_VERSION}
#error "this header was generated for another edgeq_quantize.h: take both from one bundle"
#endif

#define {upper}_INPUT_COUNT {len(graph.inputs)}
#define {upper}_OUTPUT_COUNT {len(graph.outputs)}

{ports}{_labels(export)}{_arena(export) if has_interpreter else ""}"""
    return _header(export, f"{upper}_IO_H_", about, body)


def _port(name: str, side: str, position: int, port: Port) -> str:
    tensor = port.tensor
    lower, upper = f"{side}_{position}", f"{name}_{side}_{position}".upper()
    dimensions = ", ".join(map(str, tensor.shape or (1,)))
    text = f"""\
// {side.capitalize()} {position}, "{comment(port.name)}": {describe(tensor)}
#define {upper}_NAME {c_string(port.name)}
#define {upper}_DTYPE "{tensor.dtype}"
#define {upper}_RANK {len(tensor.shape)}
#define {upper}_SHAPE {{{dimensions}}}
#define {upper}_ELEMENTS {tensor.elements}
#define {upper}_BYTES {tensor.bytes}
typedef {_C_TYPES[tensor.dtype]} {name}_{lower}_t;
"""
    if not has_quantization(tensor):
        return text + "\n"
    assert tensor.quantization is not None
    arguments = f"{upper}_SCALE, {upper}_ZERO_POINT"
    stored, dtype = f"{name}_{lower}_t", tensor.dtype
    text += f"""\
#define {upper}_SCALE {float_literal(tensor.quantization.scale)}
#define {upper}_ZERO_POINT ({tensor.quantization.zero_point})
static inline {stored} {name}_quantize_{lower}(float real) {{
  return eq_quantize_{dtype}(real, {arguments});
}}
static inline float {name}_dequantize_{lower}({stored} stored) {{
  return eq_dequantize_{dtype}(stored, {arguments});
}}
"""
    if side == "input":
        text += f"""\
// All {upper}_ELEMENTS values.
static inline void {name}_quantize_all_{lower}(const float* real, {stored}* stored) {{
  eq_quantize_all_{dtype}(real, stored, {upper}_ELEMENTS,
      {arguments});
}}
"""
    else:
        text += f"""\
// All {upper}_ELEMENTS values.
static inline void {name}_dequantize_all_{lower}(const {stored}* stored, float* real) {{
  eq_dequantize_all_{dtype}(stored, real, {upper}_ELEMENTS,
      {arguments});
}}
"""
    return text + "\n"


def _labels(export: Export) -> str:
    name, upper = export.name, export.name.upper()
    if not export.labels:
        return f"#define {upper}_LABEL_COUNT 0\n\n"
    labels = "".join(f"  {c_string(label)},\n" for label in export.labels)
    return f"""\
// What the classes are called, in UTF-8.
#define {upper}_LABEL_COUNT {len(export.labels)}
static const char* const {name}_labels[{upper}_LABEL_COUNT] = {{
{labels}}};

"""


def _arena(export: Export) -> str:
    upper = export.name.upper()
    if export.arena is None:
        found = f"""\
// The tensor arena was not measured: the build computer lacked the tflite-micro package.
// Define {upper}_TENSOR_ARENA_SIZE yourself; the golden check says whether it is enough.
#ifdef {upper}_TENSOR_ARENA_SIZE
"""
        end = f"#endif  // {upper}_TENSOR_ARENA_SIZE\n"
    else:
        lines = "".join(f"// {comment(line)}\n" for line in export.arena.lines())
        found = f"""\
// Bytes of TensorFlow Lite Micro's tensor arena, which must be aligned to 16. The network in C
// (aot/) has its own: {upper}_ARENA_SIZE of {export.name}.h.
{lines}#ifndef {upper}_TENSOR_ARENA_SIZE
#define {upper}_TENSOR_ARENA_SIZE {export.arena.size}
#endif
"""
        end = ""
    return f"""\
{found}#ifndef EQ_NO_SHORT_NAMES  // Define it where the headers of two models meet in one file.
#ifdef __cplusplus
constexpr unsigned int kTensorArenaSize = {upper}_TENSOR_ARENA_SIZE;
#else
enum {{ kTensorArenaSize = {upper}_TENSOR_ARENA_SIZE }};
#endif
#endif
{end}"""


# --- Golden vectors -----------------------------------------------------------------------------


def _golden(export: Export) -> str:
    name, upper = export.name, export.name.upper()
    golden = export.golden
    arrays = "".join(
        _golden_array(name, side, i, port, [sample[i] for sample in samples])
        for side, ports, samples in (
            ("input", export.graph.inputs, golden.inputs),
            ("output", export.graph.outputs, golden.outputs),
        )
        for i, port in enumerate(ports)
    )
    size = sum(a.nbytes for sample in golden.inputs + golden.outputs for a in sample)
    about = [
        f"Golden vectors: {len(golden)} samples, {size} bytes of flash, for a check only.",
        f"Reference: {comment(golden.reference)}",
    ]
    body = f"""\
#include <stdint.h>

#include "{name}_io.h"

#define {upper}_GOLDEN_COUNT {len(golden)}
#define {upper}_GOLDEN_REFERENCE {c_string(golden.reference)}

{arrays}"""
    return _header(export, f"{upper}_GOLDEN_H_", about, body)


def _golden_array(
    name: str, side: str, position: int, port: Port, samples: Sequence[NDArray[Any]]
) -> str:
    upper = name.upper()
    form = _golden_type(port.tensor)
    note = ", as bits" if port.tensor.is_float else ""
    values = "".join(
        f"  {{  // sample {i}\n{rows(_numbers(sample), '    ')}  }},\n"
        for i, sample in enumerate(samples)
    )
    return f"""\
// {side.capitalize()} {position}, "{comment(port.name)}": {describe(port.tensor)}{note}
static const {form} {name}_golden_{side}_{position}
    [{upper}_GOLDEN_COUNT][{upper}_{side.upper()}_{position}_ELEMENTS] = {{
{values}}};

"""


def _golden_type(tensor: Tensor) -> str:
    bits = _BITS.get(tensor.dtype)
    return f"{np.dtype(bits).name}_t" if bits else _C_TYPES[tensor.dtype]


def _numbers(values: NDArray[Any]) -> list[str]:
    flat = np.asarray(values, order="C").reshape(-1)
    bits = _BITS.get(flat.dtype.name)
    if bits is not None:
        width = 2 * flat.dtype.itemsize
        suffix = "ULL" if flat.dtype.itemsize == 8 else ""
        return [f"0x{int(v):0{width}x}{suffix}" for v in flat.view(bits)]
    if flat.dtype.name == "int64":
        # The lowest value has no literal: C reads it as a minus before a number that is too large.
        lowest = np.iinfo(np.int64).min
        return [f"(-{-(lowest + 1)}LL - 1)" if v == lowest else f"{v}LL" for v in flat.tolist()]
    if flat.dtype.name == "int32":
        lowest = np.iinfo(np.int32).min
        return [f"(-{-(lowest + 1)} - 1)" if v == lowest else str(v) for v in flat.tolist()]
    suffix = {"uint64": "ULL", "uint32": "U"}.get(flat.dtype.name, "")
    return [f"{v}{suffix}" for v in flat.tolist()]


# --- What main.cc reaches all this through ------------------------------------------------------


def _network(export: Export) -> str:
    name, upper = export.name, export.name.upper()
    graph: Graph = export.graph
    variables = sum(
        op.name == "VAR_HANDLE" for _, subgraph in graph.reachable() for op in subgraph.ops
    )
    about = [
        "Fixed names for the network of this bundle, so that main.cc is the same in every bundle.",
    ]
    body = f"""\
#include "{name}_golden.h"
#include "{name}_io.h"
#include "{name}_model_data.h"
#include "{name}_ops.h"

#define EQ_NETWORK_VERSION {NETWORK_VERSION}

#define EQ_NETWORK_NAME "{name}"
#define EQ_NETWORK_SHA256 {upper}_MODEL_SHA256
#define EQ_NETWORK_MODEL_DATA g_{name}_model_data

#define EQ_NETWORK_OPERATORS {upper}_NUMBER_OPERATORS
#define EQ_NETWORK_ADD_OPS {name}_add_ops
#define EQ_NETWORK_RESOURCE_VARIABLES {variables}

#if !defined(EQ_NETWORK_ARENA_SIZE) && defined({upper}_TENSOR_ARENA_SIZE)
#define EQ_NETWORK_ARENA_SIZE {upper}_TENSOR_ARENA_SIZE
#endif

#define EQ_NETWORK_SAMPLES {upper}_GOLDEN_COUNT
#define EQ_NETWORK_REFERENCE {upper}_GOLDEN_REFERENCE

// For each tensor: its values in all samples, and the bytes of one sample.
#define EQ_NETWORK_INPUTS {_vectors(name, "input", len(graph.inputs))}
#define EQ_NETWORK_OUTPUTS {_vectors(name, "output", len(graph.outputs))}
"""
    return _header(export, "EDGEQ_NETWORK_H_", about, body)


def _vectors(name: str, side: str, count: int) -> str:
    arrays = [f"{name}_golden_{side}_{i}" for i in range(count)]
    return ", \\\n    ".join(f"{{{a}, sizeof({a}[0])}}" for a in arrays)
