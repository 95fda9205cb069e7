"""Taking operators and tensors of a .tflite out, putting others in, and changing what they read.

An Editor works on the main subgraph with the schema's own object API. Like the edits of writer, it
is for models that read_graph has accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.graph import NUMPY_TYPES
from edgeq.tflite import opcodes
from edgeq.tflite.writer import drop_unused_codes, indexes, operator_name, pack, unpack

_PLACEHOLDER = 127
"""What the old 8-bit field holds for an operator that is beyond it."""


class Editor:
    """The main subgraph of `tflite`; `name` is that of the file, for errors.

    `schema` is the module of the object API, `ops` the operators in the order in which they run.
    Tensors are known by their index, which stays what it is until bytes().
    """

    def __init__(self, tflite: bytes, name: str = "model") -> None:
        self.schema, self._model = unpack(tflite, name)
        self._name = name
        self._graph = self._model.subgraphs[0]
        self._graph.operators = list(self._graph.operators or [])

    @property
    def ops(self) -> list[Any]:
        ops: list[Any] = self._graph.operators
        return ops

    @property
    def ends(self) -> set[int]:
        """The subgraph's inputs and outputs."""
        return {*self.graph_inputs, *self.graph_outputs}

    @property
    def graph_inputs(self) -> list[int]:
        return indexes(self._graph.inputs)

    @property
    def graph_outputs(self) -> list[int]:
        return indexes(self._graph.outputs)

    def operator(self, op: Any) -> str:
        """The operator's name, as in a Graph."""
        return operator_name(self._model, op)

    def inputs(self, op: Any) -> list[int]:
        return indexes(op.inputs)

    def outputs(self, op: Any) -> list[int]:
        return indexes(op.outputs)

    def readers(self, tensor: int) -> list[Any]:
        """The operators that read `tensor`, each once."""
        return [op for op in self.ops if tensor in indexes(op.inputs)]

    def maker(self, tensor: int) -> Any | None:
        return next((op for op in self.ops if tensor in indexes(op.outputs)), None)

    def layer(self, tensor: int) -> str:
        """What to call the layer that makes `tensor`."""
        raw = self._graph.tensors[tensor].name or b""
        return raw.decode(errors="replace").split(";")[0] or f"tensor {tensor}"

    def name_of(self, tensor: int) -> str:
        return (self._graph.tensors[tensor].name or b"").decode(errors="replace")

    def rename(self, tensor: int, name: str) -> None:
        self._graph.tensors[tensor].name = name.encode()

    def drop_metadata(self, name: bytes) -> None:
        """Take out the entries that are called so."""
        self._model.metadata = [m for m in self._model.metadata or [] if m.name != name]

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(indexes(self._graph.tensors[tensor].shape))

    def dtype(self, tensor: int) -> str:
        return opcodes.TENSOR_TYPES[int(self._graph.tensors[tensor].type)]

    def is_fixed(self, *tensors: int) -> bool:
        """Whether all have shapes that are known, the first dimension too."""
        return all(self._graph.tensors[i].shapeSignature is None for i in tensors if i >= 0)

    def constant(self, tensor: int) -> NDArray[Any] | None:
        """The values of a constant, None for any other tensor and for sparse ones."""
        found = self._graph.tensors[tensor]
        data = self._model.buffers[found.buffer].data
        kind = NUMPY_TYPES.get(self.dtype(tensor))
        if data is None or len(data) == 0 or found.sparsity is not None or kind is None:
            return None
        values: NDArray[Any] = np.frombuffer(np.asarray(data, np.uint8).tobytes(), kind)
        return values.reshape(self.shape(tensor))

    def scale(self, tensor: int) -> tuple[float, int] | None:
        """(scale, zero point) of a tensor that has one of each."""
        found = self._graph.tensors[tensor].quantization
        if found is None or found.scale is None or len(found.scale) != 1:
            return None
        zero_points = found.zeroPoint
        no_zero = zero_points is None or len(zero_points) == 0
        return float(found.scale[0]), 0 if no_zero else int(zero_points[0])

    def scales(self, tensor: int) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
        """(Scales, zero points, the dimension that has one of each) of a quantized tensor."""
        found = self._graph.tensors[tensor].quantization
        scales = np.array(found.scale, np.float64)
        zeros = found.zeroPoint
        filled = np.zeros(len(scales), np.int64) if zeros is None else np.array(zeros, np.int64)
        return scales, filled, int(found.quantizedDimension)

    def add_tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        data: NDArray[Any] | None = None,
        scale: tuple[float, int] | None = None,
    ) -> int:
        """The index of a new tensor; with `data`, a constant."""
        made = self.schema.TensorT()
        made.name = name.encode()
        made.shape = np.array(shape, np.int32)
        made.type = opcodes.TENSOR_TYPES.index(dtype)
        if scale is not None:
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale = np.array([scale[0]], np.float32)
            made.quantization.zeroPoint = np.array([scale[1]], np.int64)
        if data is not None:
            raw = np.ascontiguousarray(data, NUMPY_TYPES[dtype]).tobytes()
            self._model.buffers.append(self.schema.BufferT(data=np.frombuffer(raw, np.uint8)))
            made.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def add_constant(self, name: str, values: NDArray[Any]) -> int:
        return self.add_tensor(name, values.shape, str(values.dtype), values)

    def make(
        self,
        operator: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,
        version: int = 1,
    ) -> Any:
        """A new operator, not yet among `ops`; `options` is an object of the schema's."""
        made = self.schema.OperatorT()
        self.become(made, operator, options, version)
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array(outputs, np.int32)
        return made

    def become(self, op: Any, operator: str, options: Any = None, version: int = 1) -> None:
        """Let `op` be another operator with the same inputs and outputs."""
        op.opcodeIndex = self._code(operator, version)
        op.builtinOptions = options
        op.builtinOptionsType = 0
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            op.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)

    def set_version(self, op: Any, version: int) -> None:
        """Let `op` alone be of `version` of its operator."""
        op.opcodeIndex = self._code(self.operator(op), version)

    def version(self, op: Any) -> int:
        return int(self._model.operatorCodes[op.opcodeIndex].version)

    def replace(self, op: Any, *others: Any) -> None:
        """`others` in the place of `op`; none takes it out."""
        at = next(i for i, known in enumerate(self.ops) if known is op)
        self.ops[at : at + 1] = others

    def insert_after(self, op: Any, *others: Any) -> None:
        self.replace(op, op, *others)

    def insert_before(self, op: Any, *others: Any) -> None:
        self.replace(op, *others, op)

    def redirect(self, old: int, new: int) -> None:
        """Whoever reads `old` reads `new`."""
        for op in self.readers(old):
            op.inputs = np.array([new if i == old else i for i in indexes(op.inputs)], np.int32)

    def bypass(self, op: Any) -> bool:
        """Take out `op`, whose output is its first input; False where the graph's ends forbid."""
        source, made = indexes(op.inputs)[0], indexes(op.outputs)[0]
        if made not in self.ends:
            self.redirect(made, source)
            self.replace(op)
            return True
        maker = self.maker(source)
        if source in self.ends or maker is None:
            return False
        self.replace(op)
        self.redirect(source, made)
        maker.outputs = np.array(
            [made if i == source else i for i in indexes(maker.outputs)], np.int32
        )
        return True

    def drop_dead(self) -> None:
        """Take out operators whose outputs nothing reads; those with none, or with state, stay."""
        while True:
            read = {i for op in self.ops for i in indexes(op.inputs)} | self.ends
            dead = [
                op
                for op in self.ops
                if len(indexes(op.outputs)) and not read & {*indexes(op.outputs)}
            ]
            dead = [op for op in dead if not self._has_effects(op)]
            if not dead:
                return
            for op in dead:
                self.replace(op)

    def bytes(self) -> bytes:
        """The .tflite, without operator codes and tensors that nothing uses."""
        drop_unused_codes(self._model)
        self._drop_unused_tensors()
        return pack(self._model, self._name)

    def _has_effects(self, op: Any) -> bool:
        reads = [self._graph.tensors[i] for i in indexes(op.inputs) if i >= 0]
        calls = self.operator(op) in ("CALL_ONCE", "WHILE", "IF", "CUSTOM")
        return calls or any(
            t.isVariable or self.schema.TensorType.RESOURCE == t.type for t in reads
        )

    def _drop_unused_tensors(self) -> None:
        graph = self._graph
        used = {*self.ends}
        for op in self.ops:
            used |= {*indexes(op.inputs), *indexes(op.outputs), *indexes(op.intermediates)}
        signatures = [
            entry
            for signature in self._model.signatureDefs or []
            if signature.subgraphIndex == 0
            for entry in (*(signature.inputs or []), *(signature.outputs or []))
        ]
        used |= {int(entry.tensorIndex) for entry in signatures}
        kept = [i for i in range(len(graph.tensors)) if i in used]
        places = {old: new for new, old in enumerate(kept)} | {-1: -1}

        def moved(vector: Any) -> NDArray[np.int32]:
            return np.array([places[i] for i in indexes(vector)], np.int32)

        graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
        for op in self.ops:
            op.inputs, op.outputs = moved(op.inputs), moved(op.outputs)
            if op.intermediates is not None:
                op.intermediates = moved(op.intermediates)
        for entry in signatures:
            entry.tensorIndex = places[int(entry.tensorIndex)]
        graph.tensors = [graph.tensors[i] for i in kept]
        full = {t.buffer for s in self._model.subgraphs for t in s.tensors or []}
        full |= {int(m.buffer) for m in self._model.metadata or []}
        full |= {*indexes(self._model.metadataBuffer)}
        for number, buffer in enumerate(self._model.buffers):
            if number not in full:
                buffer.data = None

    def _code(self, operator: str, version: int) -> int:
        number = opcodes.OPERATORS.index(operator)
        for index, code in enumerate(self._model.operatorCodes):
            known = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
            if known == number and int(code.version) == version:
                return index
        made = self.schema.OperatorCodeT()
        made.builtinCode = number
        made.deprecatedBuiltinCode = min(number, _PLACEHOLDER)
        made.version = version
        self._model.operatorCodes.append(made)
        return len(self._model.operatorCodes) - 1
