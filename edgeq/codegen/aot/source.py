"""The text of generated C: const data, a straight line of calls, the model's description."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.layer import (
    C_TYPES,
    Array,
    Call,
    Input,
    LayerCode,
    Output,
    Scratch,
    Struct,
    Value,
)
from edgeq.codegen.facts import Export
from edgeq.codegen.text import banner, c_string, comment, describe, float_literal, rows
from edgeq.complexity import macs
from edgeq.graph import Op, Port, Subgraph, Tensor
from edgeq.memory import MemoryPlan

ABI_VERSION = 1
"""EQ_ABI_VERSION of the runtime/include/edgeq.h that the code is made for."""

_DTYPES = {
    "int8": "EQ_INT8",
    "int16": "EQ_INT16",
    "int32": "EQ_INT32",
    "int64": "EQ_INT64",
    "uint8": "EQ_UINT8",
    "bool": "EQ_BOOL",
    "float32": "EQ_FLOAT32",
}
"""eq_dtype_t of an input or output."""

_NAME_LIMIT = 40
"""Characters of a layer's name that are kept: names take flash."""


# --- The header ---------------------------------------------------------------------------------


def header(export: Export, plan: MemoryPlan, weights_size: int) -> str:
    name, upper = export.name, export.name.upper()
    run = f"void {name}_run({_run_parameters(export)});"
    return f"""\
{banner(export, ["The network, compiled to C. Link it with the runtime's files beside it."])}\
// clang-format off

#ifndef {upper}_H_
#define {upper}_H_

#include "edgeq.h"

#if EQ_ABI_VERSION != {ABI_VERSION}
#error "{name} was generated for another version of edgeq.h: take both from one bundle"
#endif

// Bytes of the arena that the model's calls take, which must be EQ_ALIGNED.
#define {upper}_ARENA_SIZE {plan.size}
// Bytes of constants: weights, biases, scales, tables.
#define {upper}_WEIGHTS_SIZE {weights_size}

#ifdef __cplusplus
extern "C" {{
#endif

extern const eq_model_t {name}_model;

// One inference in an arena of its own, which {name}_run.c brings: link that file to use it.
{run}

#ifdef __cplusplus
}}  // extern "C"
#endif

#endif  // {upper}_H_
"""


def run_file(export: Export, has_state: bool) -> str:
    """<name>_run.c: the shortest way to call the network."""
    name, upper = export.name, export.name.upper()
    graph = export.graph
    copies_in = "".join(
        f"    memcpy(eq_model_input(&{name}_model, arena, {i}), "
        f"{_port_name('input', i, graph.inputs)}, {port.tensor.bytes});\n"
        for i, port in enumerate(graph.inputs)
    )
    copies_out = "".join(
        f"    memcpy({_port_name('output', i, graph.outputs)}, "
        f"eq_model_output(&{name}_model, arena, {i}), {port.tensor.bytes});\n"
        for i, port in enumerate(graph.outputs)
    )
    about = ["The network with an arena of its own. Leave this file out to bring one yourself."]
    ready = (
        f"""\
    static int is_ready;
    if (!is_ready) {{
        eq_model_reset(&{name}_model, arena);
        is_ready = 1;
    }}
"""
        if has_state
        else ""
    )
    return f"""\
{banner(export, about)}\
// clang-format off

#include "{name}.h"

#include <string.h>

void {name}_run({_run_parameters(export)}) {{
    static uint8_t arena[{upper}_ARENA_SIZE] EQ_ALIGNED;
{ready}{copies_in}    eq_model_invoke(&{name}_model, arena);
{copies_out}}}
"""


def smallest_main(export: Export) -> str:
    """A whole main.c that calls <name>_run and nothing else."""
    graph = export.graph
    sides = (("input", graph.inputs), ("output", graph.outputs))
    names = [(_port_name(side, i, ports), p) for side, ports in sides for i, p in enumerate(ports)]
    arrays = "".join(
        f"static {C_TYPES[port.tensor.dtype]} {name}[{port.tensor.elements}];\n"
        for name, port in names
    )
    return f"""\
#include "{export.name}.h"

{arrays}
int main(void) {{
    for (;;) {{
        /* write the input */
        {export.name}_run({", ".join(name for name, _ in names)});
        /* read the output */
    }}
}}
"""


def _run_parameters(export: Export) -> str:
    parameters = [
        f"{const}{C_TYPES[port.tensor.dtype]} {_port_name(side, i, ports)}[{port.tensor.elements}]"
        for side, const, ports in (
            ("input", "const ", export.graph.inputs),
            ("output", "", export.graph.outputs),
        )
        for i, port in enumerate(ports)
    ]
    return ", ".join(parameters)


def _port_name(side: str, position: int, ports: Sequence[Port]) -> str:
    return side if len(ports) == 1 else f"{side}_{position}"


# --- The source ---------------------------------------------------------------------------------


def source(
    export: Export,
    plan: MemoryPlan,
    layers: Sequence[LayerCode],
    shared: Sequence[Array],
    headers: Sequence[str],
    weights_size: int,
) -> str:
    """<name>.c. `shared` are the constant tensors that calls read as they are."""
    name, upper = export.name, export.name.upper()
    graph, main = export.graph, export.graph.main
    includes = "".join(f'#include "{h}"\n' for h in sorted({*headers}))
    constants = [*shared, *(c for layer in layers for c in layer.constants)]
    # For INFINITY and NAN, such as a mask before a softmax has.
    math_h = "" if all(map(_is_finite, constants)) else "#include <math.h>\n"
    pairs = list(zip(main.ops, layers, strict=True))
    sections = [_section("Constant tensors", [_array(a) for a in shared])] if shared else []
    sections += [
        _section(f"{op.index} {op.name}, {layer_name(main, op)}", map(_constant, layer.constants))
        for op, layer in pairs
        if layer.constants
    ]
    calls = "".join(_layer_call(main, op, layer, plan) for op, layer in pairs)
    table = "".join(_layer_row(main, op, plan) for op in main.ops)
    states = _reset(main, pairs, plan)
    return f"""\
{banner(export, ["The network, compiled to C99: constants, and kernel calls in a straight line."])}\
// clang-format off

#include "{name}.h"

{includes}
{math_h}#include <string.h>

{"".join(sections)}\
// --- The layers ---

// What lies at a byte of the arena.
#define AT(type, offset) ((type*)(void*)(arena + (offset)))
#define DONE(layer) if (hook != NULL) hook(context, model, layer)

static void run(uint8_t* arena, eq_layer_hook_t hook, void* context, const eq_model_t* model) {{
    (void)arena;
    (void)context;
    (void)model;
{calls}}}

#undef AT
#undef DONE

{states}\
static const eq_layer_t layers[] = {{
{table}}};

// --- Inputs and outputs ---

{_ports("inputs", graph.inputs, plan)}
{_ports("outputs", graph.outputs, plan)}
// Links with this version of the runtime and no other.
extern const uint8_t* const {name}_runtime;
const uint8_t* const {name}_runtime = &eq_abi_{ABI_VERSION};

const eq_model_t {name}_model = {{
    .abi_version = {ABI_VERSION},
    .input_count = {len(graph.inputs)},
    .output_count = {len(graph.outputs)},
    .layer_count = {len(layers)},
    .name = {c_string(name)},
    .sha256 = {c_string(export.sha256)},
    .inputs = inputs,
    .outputs = outputs,
    .layers = layers,
    .arena_size = {upper}_ARENA_SIZE,
    .weights_size = {upper}_WEIGHTS_SIZE,
    .run = run,
    .reset = {"reset" if states else "NULL"},
}};
"""


def layer_name(subgraph: Subgraph, op: Op) -> str:
    """The name of what the operator computes, without the names of what was fused into it."""
    full = subgraph.tensors[op.outputs[0]].name if op.outputs else ""
    first = full.split(";")[0].rsplit("/", 2)
    return "/".join(first[-2:])[-_NAME_LIMIT:]


def _section(title: str, declarations: Any) -> str:
    return f"// --- {comment(title)} ---\n\n" + "\n".join(declarations) + "\n"


def _constant(constant: Array | Struct) -> str:
    return _array(constant) if isinstance(constant, Array) else _struct(constant)


def _array(array: Array) -> str:
    about = f"// {comment(array.about)}\n" if array.about else ""
    values = np.asarray(array.values, order="C").reshape(-1)
    form = C_TYPES[values.dtype.name]
    body = rows(_numbers(values), "    ", 16 if values.dtype.itemsize == 1 else 8)
    return f"{about}static const {form} {array.name}[{values.size}] = {{\n{body}}};\n"


def _struct(struct: Struct) -> str:
    return f"static const {struct.ctype} {struct.name} = {_fields(struct.fields, '')};\n"


def _fields(fields: tuple[tuple[str, Value], ...], indent: str) -> str:
    inner = indent + "    "
    lines = "".join(
        f"{inner}.{name} = {_fields(value, inner) if isinstance(value, tuple) else value},\n"
        for name, value in fields
    )
    return f"{{\n{lines}{indent}}}"


def _numbers(values: NDArray[Any]) -> list[str]:
    if values.dtype.kind == "f":
        return [_float(float(v)) for v in values]
    if values.dtype.itemsize == 8:
        return [f"{v}LL" if v != -(1 << 63) else "(-9223372036854775807LL - 1)" for v in values]
    # The lowest int32 has no literal: C reads it as a minus before a number that is too large.
    return [str(int(v)) if v != -(1 << 31) else "(-2147483647 - 1)" for v in values]


def _float(value: float) -> str:
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return float_literal(value)


def _is_finite(constant: Array | Struct) -> bool:
    return isinstance(constant, Struct) or bool(np.isfinite(constant.values).all())


# --- Calls --------------------------------------------------------------------------------------


def _layer_call(subgraph: Subgraph, op: Op, layer: LayerCode, plan: MemoryPlan) -> str:
    note = "" if layer.calls else ": the same bytes"
    lines = [f"    // {op.index} {op.name}{note}\n"]
    lines += [f"    {_call(subgraph, op, call, plan)};\n" for call in layer.calls]
    lines.append(f"    DONE({op.index});\n")
    return "".join(lines)


def _call(subgraph: Subgraph, op: Op, call: Call, plan: MemoryPlan) -> str:
    arguments = []
    for argument in call.arguments:
        match argument:
            case Input(position):
                index = op.inputs[position] if position < len(op.inputs) else -1
                arguments.append(_input(subgraph, index, plan))
            case Output(position):
                tensor = subgraph.tensors[op.outputs[position]]
                arguments.append(f"AT({C_TYPES[tensor.dtype]}, {plan.offset(tensor.index)})")
            case Scratch(ctype):
                arguments.append(f"AT({ctype}, {plan.scratch_offset(op.index)})")
            case _:
                arguments.append(argument)
    return f"{call.function}({', '.join(arguments)})"


def _input(subgraph: Subgraph, index: int, plan: MemoryPlan) -> str:
    if index < 0:
        return "NULL"
    tensor = subgraph.tensors[index]
    if tensor.is_constant:
        return constant_name(tensor)
    const = "" if tensor.is_variable else "const "
    return f"AT({const}{C_TYPES[tensor.dtype]}, {plan.offset(index)})"


def constant_name(tensor: Tensor) -> str:
    """Of the array that holds a constant tensor that a call reads as it is."""
    return f"tensor_{tensor.index}"


def _reset(subgraph: Subgraph, pairs: Sequence[tuple[Op, LayerCode]], plan: MemoryPlan) -> str:
    fills = {op.inputs[position]: value for op, layer in pairs for position, value in layer.states}
    if not fills:
        return ""
    lines = "".join(
        f"    memset(arena + {plan.offset(index)}, {value}, {subgraph.tensors[index].bytes});\n"
        for index, value in sorted(fills.items())
    )
    return f"""\
// What the network keeps between calls, set to its first value.
static void reset(uint8_t* arena) {{
{lines}}}

"""


# --- Tables -------------------------------------------------------------------------------------


def _layer_row(subgraph: Subgraph, op: Op, plan: MemoryPlan) -> str:
    tensor = subgraph.tensors[op.outputs[0]]
    offset = plan.offset(tensor.index) if plan.has(tensor.index) else 0
    return (
        f"    {{{c_string(op.name)}, {c_string(layer_name(subgraph, op))}, {offset}, "
        f"{tensor.bytes}, {macs(subgraph, op)}}},\n"
    )


def _ports(kind: str, ports: Sequence[Port], plan: MemoryPlan) -> str:
    singular = kind.removesuffix("s")
    shapes = "".join(
        f"static const int32_t {singular}_{i}_shape[] = "
        f"{{{', '.join(map(str, port.tensor.shape or (1,)))}}};\n"
        for i, port in enumerate(ports)
    )
    rows_ = "".join(_port(singular, i, port, plan) for i, port in enumerate(ports))
    return f"{shapes}static const eq_tensor_t {kind}[] = {{\n{rows_}}};\n"


def _port(kind: str, position: int, port: Port, plan: MemoryPlan) -> str:
    tensor = port.tensor
    facts = tensor.quantization
    scale = float_literal(facts.scale) if facts else "0.0f"
    return f"""\
    {{  // {comment(port.name)}: {describe(tensor)}
        .name = {c_string(port.name)},
        .shape = {kind}_{position}_shape,
        .offset = {plan.offset(tensor.index)},
        .bytes = {tensor.bytes},
        .zero_point = {facts.zero_point if facts else 0},
        .scale = {scale},
        .dtype = {_DTYPES[tensor.dtype]},
        .rank = {len(tensor.shape)},
    }},
"""
