"""Mixed precision: one network with some operators in int16x8 and all others in int8.

The float model is quantized twice, and operators of both results are put together. Where an
activation goes from one precision to the other there is a QUANTIZE between integers, which LiteRT,
TensorFlow Lite Micro and engine aot all have. Weights are int8 in both; biases are int64 where
activations are int16.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeq.conversion import Conversion
from edgeq.documents import nearest
from edgeq.errors import ConversionError, UsageError
from edgeq.graph import Graph
from edgeq.tflite import opcodes, read_graph
from edgeq.tflite.writer import damage_refused, indexes, pack, unpack

_TYPES = ("int8", "int16")

_QUANTIZE = opcodes.OPERATORS.index("QUANTIZE")

_TO_INT16 = 2
"""The version of QUANTIZE that has an output of int16 (tensorflow/compiler/mlir/lite/tools/
versioning/op_version.cc); to int8 it is 1."""


def layer_name(name: str) -> str:
    """The first of the names that a converter joined in a tensor's `name`: what is shown."""
    return name.split(";")[0]


def layers_named(graph: Graph, names: Sequence[str]) -> tuple[str, ...]:
    """The output tensors, by name and in order, of the operators of `graph` that `names` mean.

    One of `names` is a tensor's name, whole or up to its first ";", or a layer's: a part of names
    between "/" that may stand for several operators. Raises UsageError for one that means none.
    """
    made = [graph.main.tensors[op.outputs[0]].name for op in graph.main.ops if op.outputs]
    chosen: set[str] = set()
    for name in names:
        found = (
            [m for m in made if m == name]
            or [m for m in made if layer_name(m) == name]
            or [m for m in made if any(name in part.split("/") for part in m.split(";"))]
        )
        if not found:
            guess = nearest(name, {*map(layer_name, made), *(p for m in made for p in _parts(m))})
            shown = ", ".join(layer_name(m) for m in made[:20])
            raise UsageError(
                f"no operator makes {name!r}, so it cannot become int16",
                hint=f"did you mean {guess}?" if guess else f"there are: {shown}",
            )
        chosen.update(found)
    return tuple(dict.fromkeys(m for m in made if m in chosen))


def shortest_names(graph: Graph, layers: Sequence[str]) -> tuple[str, ...]:
    """For each of `layers`, tensors' whole names, a short one that means it and no other: its
    layer's, where that is one operator, else up to the first ";"."""

    def shortest(layer: str) -> str:
        first = layer_name(layer)
        for name in (*first.split("/")[-2:-1], first):
            if name and layers_named(graph, [name]) == (layer,):
                return name
        return layer

    return tuple(map(shortest, layers))


def _parts(name: str) -> list[str]:
    return [word for part in name.split(";") for word in part.split("/")]


def mixed(
    graph: Graph, eight: Conversion, sixteen: Conversion, layers: Collection[str]
) -> Conversion:
    """The operators that make `layers` as they are in `sixteen`, all others as in `eight`.

    `graph` is the float model's, of which `eight` is int8 and `sixteen` int16x8; `layers` are whole
    names of its tensors. An input is int16 if only operators in int16 read it, an output if one
    makes it. Operators that a quantizer has merged go together. Raises ConversionError when one of
    `layers` is no operator's own output in both.
    """
    name = "mixed precision"
    with damage_refused(name):
        maker = _Maker(graph, (eight.tflite, sixteen.tflite), layers)
        tflite = maker.make()
    return Conversion(
        tflite,
        read_graph(tflite, name),
        "int8",
        f"{eight.route}, and {sixteen.route} for {len(layers)} operators in int16",
        (*eight.failed, *sixteen.failed),
        (*eight.repairs, *(r for r in sixteen.repairs if r not in eight.repairs)),
        eight.calibrated | sixteen.calibrated,
        tuple(layers),
    )


_Key = str | tuple[str, int]
"""An activation that the float model has: by name, ends of the network by side and place."""


@dataclass
class _Side:
    """One of the two models: `known` is what its tensors are in the float model, where they are
    that; `makers` the operator that makes each tensor, by index."""

    model: Any
    known: dict[int, _Key]
    makers: dict[int, int]
    copies: dict[int, int] = field(default_factory=dict)

    @property
    def subgraph(self) -> Any:
        return self.model.subgraphs[0]

    def cone(self, start: int, stops: Collection[_Key]) -> tuple[set[int], set[_Key]]:
        """The operators that make tensor `start` of nothing but `stops`, and which of these."""
        ops: set[int] = set()
        read: set[_Key] = set()
        pending = [start]
        while pending:
            op = self.makers.get(pending.pop())
            if op is None or op in ops:
                continue
            ops.add(op)
            for i in indexes(self.subgraph.operators[op].inputs):
                if i >= 0 and self.known.get(i) in stops:
                    read.add(self.known[i])
                elif i >= 0:
                    pending.append(i)
        return ops, read


@dataclass(frozen=True)
class _Unit:
    """Operators that go together: the activations they make, and by side the operators' numbers
    and the activations that they read."""

    makes: tuple[_Key, ...]
    ops: tuple[tuple[int, ...], tuple[int, ...]]
    reads: tuple[frozenset[_Key], frozenset[_Key]]


class _Maker:
    """Puts the new model together, in terms of the schema's object API."""

    def __init__(self, graph: Graph, tflites: tuple[bytes, bytes], layers: Collection[str]) -> None:
        self._schema, first = unpack(tflites[0], "int8 model")
        _, second = unpack(tflites[1], "int16 model")
        self._sides = [_side(graph, model) for model in (first, second)]
        self._units = self._find_units()
        self._side_of = self._choose_sides(graph, layers)
        self._made: dict[tuple[_Key, int], int] = {}
        self._tensors: list[Any] = []
        self._ops: list[Any] = []
        self._buffers: list[Any] = [self._schema.BufferT()]
        self._codes: dict[tuple[int, int, Any], int] = {}

    def make(self) -> bytes:
        first = self._sides[0]
        inputs = [self._input(("input", n)) for n in range(len(first.subgraph.inputs))]
        for unit in self._units:
            self._emit(unit)
        outputs = []
        for number in range(len(first.subgraph.outputs)):
            key: _Key = ("output", number)
            if key not in self._side_of:  # An input that is passed on.
                key = first.known[int(first.subgraph.outputs[number])]
            outputs.append(self._need(key, self._side_of[key]))
        model, subgraph = first.model, first.subgraph
        ends = ((subgraph.inputs, inputs), (subgraph.outputs, outputs))
        places = {int(old): new for olds, news in ends for old, new in zip(olds, news, strict=True)}
        model.signatureDefs = [s for s in model.signatureDefs or [] if s.subgraphIndex == 0]
        for signature in model.signatureDefs:
            for entry in (*(signature.inputs or []), *(signature.outputs or [])):
                entry.tensorIndex = places[int(entry.tensorIndex)]
        subgraph.inputs = np.array(inputs, np.int32)
        subgraph.outputs = np.array(outputs, np.int32)
        subgraph.tensors, subgraph.operators = self._tensors, self._ops
        model.subgraphs = [subgraph]
        model.buffers, model.metadata, model.metadataBuffer = self._buffers, [], None
        model.operatorCodes = [self._code_of(*key) for key in self._codes]
        return pack(model, "mixed precision")

    def _find_units(self) -> list[_Unit]:
        """In the order in which they run in the int8 model."""
        keys = [set(side.known[i] for i in side.makers if i in side.known) for side in self._sides]
        common = keys[0] & keys[1]
        ends = {k for side in self._sides for i, k in side.known.items() if i not in side.makers}
        starts = [{k: i for i, k in side.known.items()} for side in self._sides]
        groups: list[tuple[set[_Key], tuple[set[int], ...], tuple[set[_Key], ...]]] = []
        for key in sorted(common, key=str):
            cones = [
                side.cone(start[key], common | ends)
                for side, start in zip(self._sides, starts, strict=True)
            ]
            made, ops, read = {key}, tuple(c[0] for c in cones), tuple(c[1] for c in cones)
            for other in [g for g in groups if any(map(set.intersection, g[1], ops))]:
                groups.remove(other)
                made |= other[0]
                ops = tuple(map(set.union, ops, other[1]))
                read = tuple(map(set.union, read, other[2]))
            groups.append((made, ops, read))
        groups.sort(key=lambda g: max(g[1][0]))
        return [
            _Unit(
                tuple(sorted(made, key=str)),
                (tuple(sorted(ops[0])), tuple(sorted(ops[1]))),
                (frozenset(read[0] - made), frozenset(read[1] - made)),
            )
            for made, ops, read in groups
        ]

    def _choose_sides(self, graph: Graph, layers: Collection[str]) -> dict[_Key, int]:
        """0 for what is made in int8, 1 in int16."""
        wanted = {_keys_of(graph)[t.index]: t.name for t in graph.main.tensors if t.name in layers}
        missing = set(wanted) - {key for unit in self._units for key in unit.makes}
        if missing:
            first = layer_name(wanted[min(missing, key=str)])
            raise ConversionError(
                f"{first} cannot be int16 alone: quantizing merges it with a neighbour, or leaves "
                "no integer operator of its own",
                hint="name the layers around it too, or use --scheme int16x8 for all",
            )
        sides = {k: int(any(m in wanted for m in u.makes)) for u in self._units for k in u.makes}
        for number in range(len(self._sides[0].subgraph.inputs)):
            key: _Key = ("input", number)
            readers = [sides[u.makes[0]] for u in self._units if key in u.reads[sides[u.makes[0]]]]
            sides[key] = int(bool(readers) and all(readers))
        return sides

    def _input(self, key: tuple[str, int]) -> int:
        side = self._side_of[key]
        index = int(self._sides[side].subgraph.inputs[key[1]])
        return self._made.setdefault((key, side), self._copy(side, index))

    def _emit(self, unit: _Unit) -> None:
        side = self._side_of[unit.makes[0]]
        facts = self._sides[side]
        for number in unit.ops[side]:
            op = facts.subgraph.operators[number]
            read = [self._operand(side, i) for i in indexes(op.inputs)]
            made = [self._copy(side, i) for i in indexes(op.outputs)]
            for old, new in zip(indexes(op.outputs), made, strict=True):
                if old in facts.known:
                    self._made[facts.known[old], side] = new
            if op.intermediates is not None:
                kept = [self._copy(side, i) for i in indexes(op.intermediates)]
                op.intermediates = np.array(kept, np.int32)
            op.inputs, op.outputs = np.array(read, np.int32), np.array(made, np.int32)
            code = facts.model.operatorCodes[op.opcodeIndex]
            number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
            op.opcodeIndex = self._code(number, int(code.version), code.customCode)
            self._ops.append(op)

    def _operand(self, side: int, index: int) -> int:
        if index < 0:
            return -1
        key = self._sides[side].known.get(index)
        if key is None or key not in self._side_of:
            return self._copy(side, index)
        return self._need(key, side)

    def _need(self, key: _Key, side: int) -> int:
        """The tensor that holds the activation in that side's precision; a seam where it must."""
        if (key, side) not in self._made:
            source = self._made[key, 1 - side]
            index = next(i for i, k in self._sides[side].known.items() if k == key)
            made = self._copy(side, index)
            tensor = self._tensors[made]
            tensor.name = (tensor.name or b"") + f"_{_TYPES[side]}".encode()
            op = self._schema.OperatorT()
            op.opcodeIndex = self._code(_QUANTIZE, _TO_INT16 if side else 1, None)
            op.inputs, op.outputs = np.array([source], np.int32), np.array([made], np.int32)
            op.builtinOptionsType = self._schema.BuiltinOptions.QuantizeOptions
            op.builtinOptions = self._schema.QuantizeOptionsT()
            self._ops.append(op)
            self._made[key, side] = made
        return self._made[key, side]

    def _copy(self, side: int, index: int) -> int:
        """The index in the new model of a tensor of a side's."""
        facts = self._sides[side]
        if index not in facts.copies:
            tensor = facts.subgraph.tensors[index]
            data = facts.model.buffers[tensor.buffer].data
            tensor.buffer = 0
            if data is not None and len(data):
                self._buffers.append(self._schema.BufferT(data=data))
                tensor.buffer = len(self._buffers) - 1
            self._tensors.append(tensor)
            facts.copies[index] = len(self._tensors) - 1
        return facts.copies[index]

    def _code(self, number: int, version: int, custom: Any) -> int:
        return self._codes.setdefault((number, version, custom), len(self._codes))

    def _code_of(self, number: int, version: int, custom: Any) -> Any:
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.version, code.customCode = number, version, custom
        code.deprecatedBuiltinCode = min(number, 127)  # What the old 8-bit field can hold.
        return code


def _side(graph: Graph, model: Any) -> _Side:
    """What `model`, made of `graph`, has of its activations. Ends are known by their places."""
    if any(op.subgraphs for op in graph.main.ops):
        raise ConversionError(
            "mixed precision: the network has control flow",
            hint="--scheme int8 or int16x8 for all of it",
        )
    subgraph = model.subgraphs[0]
    keys = _keys_of(graph)
    by_name = {t.name: keys[t.index] for t in graph.main.tensors if not t.is_constant}
    known: dict[int, _Key] = {}
    for index, tensor in enumerate(subgraph.tensors):
        name = (tensor.name or b"").decode(errors="replace")
        key = by_name.get(name)
        if isinstance(key, str):
            known[index] = key
    for number, index in enumerate(indexes(subgraph.outputs)):
        known[index] = ("output", number)
    for number, index in enumerate(indexes(subgraph.inputs)):
        known[index] = ("input", number)
    makers = {i: n for n, op in enumerate(subgraph.operators or []) for i in indexes(op.outputs)}
    return _Side(model, known, makers)


def _keys_of(graph: Graph) -> dict[int, _Key]:
    keys: dict[int, _Key] = {t.index: t.name for t in graph.main.tensors}
    keys.update({i: ("output", n) for n, i in enumerate(graph.main.outputs)})
    keys.update({i: ("input", n) for n, i in enumerate(graph.main.inputs)})
    return keys
