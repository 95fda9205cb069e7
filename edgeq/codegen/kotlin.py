"""Kotlin for an Android app: <Name>Model.kt, Quantize.kt and golden vectors as raw files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from edgeq import resources
from edgeq.codegen.facts import Export, check, has_quantization
from edgeq.codegen.text import banner, comment, describe, float_literal, kotlin_string, rows
from edgeq.graph import Port

ASSET = "model.tflite"

_LITERT = "com.google.ai.edge.litert:litert:2.3.0"

_LABELS_PER_LIST = 500
"""A JVM method holds 64 KB of code, which one list of some thousand labels would exceed."""

_STORED = {"int8": "Byte", "uint8": "Byte", "int16": "Short"}
_HELPERS = {"int8": "Int8", "uint8": "Uint8", "int16": "Int16"}


def generate(export: Export) -> dict[str, str | bytes]:
    """The files by name. Raises ModelError for inputs or outputs that it cannot describe."""
    check(export)
    name = object_name(export.name)
    quantize = resources.path("runtime", "android", "Quantize.kt")
    return {
        f"{name}.kt": _model(export, name),
        "Quantize.kt": quantize.read_text(encoding="utf-8"),
        **{path: data for path, data in _golden_files(export)},
    }


def object_name(name: str) -> str:
    """ "kws_ref" -> "KwsRefModel"."""
    camel = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    return (camel if camel[:1].isalpha() else f"Network{camel}") + "Model"


def _golden_files(export: Export) -> list[tuple[str, bytes]]:
    files = []
    for prefix, samples in (("in", export.golden.inputs), ("out", export.golden.outputs)):
        for i in range(len(samples[0])):
            data = b"".join(_little_endian(sample[i]) for sample in samples)
            files.append((f"golden/{prefix}_{i}.bin", data))
    return files


def _little_endian(values: NDArray[Any]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def _model(export: Export, name: str) -> str:
    graph, golden = export.graph, export.golden
    about = [
        f"Copy this file and Quantize.kt into the app's sources, {ASSET} into src/main/assets/.",
        "To run it, with LiteRT:",
        "",
        f'    dependencies {{ implementation("{_LITERT}") }}',
        '    android { androidResources { noCompress += "tflite" } }  // so that it can be mapped',
        "",
        f"    val model = CompiledModel.create(context.assets, {name}.ASSET)",
        "    val inputs = model.createInputBuffers()",
        "    val outputs = model.createOutputBuffers()",
        *_calls(export, name),
        "",
        "Where CompiledModel's TensorBuffer has no call for a type, the same package's",
        "org.tensorflow.lite.Interpreter takes direct ByteBuffers of any.",
    ]
    ports = "".join(
        _port(side, i, port)
        for side, ports in (("Input", graph.inputs), ("Output", graph.outputs))
        for i, port in enumerate(ports)
    )
    return f"""\
{banner(export, about)}
package edgeq

object {name} {{
    const val NAME = {kotlin_string(export.name)}

    /** The model's file in the app's assets. */
    const val ASSET = {kotlin_string(ASSET)}

    /** Of the model's bytes: compare it when the file may be an older one. */
    const val SHA256 = {kotlin_string(export.sha256)}

{_labels(export.labels)}
{ports}    // Golden vectors: {comment(golden.reference)}.
    // Each file holds GOLDEN_COUNT samples of one tensor, as stored, little-endian.
    // An output may be GOLDEN_TOLERANCE steps of its scale away from them.
    const val GOLDEN_COUNT = {len(golden)}
    val GOLDEN_INPUTS = listOf({_paths("in", len(graph.inputs))})
    val GOLDEN_OUTPUTS = listOf({_paths("out", len(graph.outputs))})
    val GOLDEN_TOLERANCE = intArrayOf({", ".join(map(str, golden.tolerance))})
}}
"""


def _calls(export: Export, name: str) -> list[str]:
    lines = []
    for i, port in enumerate(export.graph.inputs):
        dtype = port.tensor.dtype
        if dtype == "int8" and has_quantization(port.tensor):
            lines.append(f"    inputs[{i}].writeInt8({name}.Input{i}.quantize(floats))")
        else:
            lines.append(f"    // inputs[{i}]: {dtype}")
    lines.append("    model.run(inputs, outputs)")
    for i, port in enumerate(export.graph.outputs):
        dtype = port.tensor.dtype
        if dtype == "int8" and has_quantization(port.tensor):
            lines.append(
                f"    val values{i} = {name}.Output{i}.dequantize(outputs[{i}].readInt8())"
            )
        else:
            lines.append(f"    // outputs[{i}]: {dtype}")
    return lines


def _paths(prefix: str, count: int) -> str:
    return ", ".join(f'"golden/{prefix}_{i}.bin"' for i in range(count))


def _labels(labels: Sequence[str]) -> str:
    if not labels:
        return "    val LABELS: List<String> = emptyList()\n"
    starts = range(0, len(labels), _LABELS_PER_LIST)
    total = " + ".join(f"labels{i}()" for i in range(len(starts)))
    lists = "".join(
        f"\n    private fun labels{i}(): List<String> = listOf(\n"
        # Kotlin takes a comma behind the last one from version 1.4 on.
        + rows(
            [kotlin_string(s) for s in labels[start : start + _LABELS_PER_LIST]], " " * 8, 1
        ).removesuffix(",\n")
        + "\n    )\n"
        for i, start in enumerate(starts)
    )
    return (
        f"    /** What the classes are called. */\n    val LABELS: List<String> = {total}\n{lists}"
    )


def _port(side: str, position: int, port: Port) -> str:
    tensor = port.tensor
    text = f"""\
    // {side} {position}, "{comment(port.name)}": {describe(tensor)}
    object {side}{position} {{
        const val NAME = {kotlin_string(port.name)}
        const val DTYPE = "{tensor.dtype}"
        val SHAPE = intArrayOf({", ".join(map(str, tensor.shape))})
        const val ELEMENTS = {tensor.elements}
"""
    if not has_quantization(tensor):
        return f"{text}    }}\n\n"
    assert tensor.quantization is not None
    stored, helper = _STORED[tensor.dtype], _HELPERS[tensor.dtype]
    return f"""\
{text}        const val SCALE = {float_literal(tensor.quantization.scale)}
        const val ZERO_POINT = {tensor.quantization.zero_point}

        fun quantize(real: Float): {stored} = Quantize.{tensor.dtype}(real, SCALE, ZERO_POINT)

        fun quantize(real: FloatArray): {stored}Array =
            {stored}Array(real.size) {{ quantize(real[it]) }}

        fun dequantize(stored: {stored}): Float = Quantize.from{helper}(stored, SCALE, ZERO_POINT)

        fun dequantize(stored: {stored}Array): FloatArray =
            FloatArray(stored.size) {{ dequantize(stored[it]) }}
    }}

"""
