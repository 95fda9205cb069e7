"""A .tflite file to a Graph, every index and size checked, so that nothing later has to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ModelError
from edgeq.graph import BITS, NUMPY_TYPES, Graph, Op, Quantization, Signature, Subgraph, Tensor
from edgeq.tflite import opcodes
from edgeq.tflite.flatbuffer import File, Table

MAGIC = b"TFL3"
SCHEMA_VERSION = 3
_MAX_RANK = 8
_MAX_OPS = 20_000  # MobileNetV2 has 65; what judges a graph may look at pairs of operators.
_MAX_PORTS = 1_000
_MAX_BYTES = 1 << 40


def read_graph(data: bytes, name: str = "model") -> Graph:
    """The graph of the .tflite file `data`; `name` appears in errors.

    Raises ModelError when the file is no .tflite, is damaged, or does not make sense.
    """
    if len(data) < 8 or data[4:8] != MAGIC:
        raise ModelError(
            f"{name}: not a .tflite file (bytes 4 to 7 are {data[4:8]!r}, not {MAGIC!r})",
            hint="edgeq opens .keras, .h5, SavedModel folders, .tflite, .onnx and .pt2",
        )
    file = File(data, name)
    return _Reader(file, file.root()).graph()


def has_data_outside(data: bytes) -> bool:
    """Whether some of the model's constants lie behind the flatbuffer; for what read_graph took."""
    return any(_outside(buffer)[1] for buffer in File(data, "model").root().tables(4))


def _outside(buffer: Table) -> tuple[int, int]:
    """Offset and size of data behind the flatbuffer, (0, 0) where there is none.

    Offsets of 0 and 1 are placeholders of writers.
    """
    offset, size = buffer.scalar(1, "u64"), buffer.scalar(2, "u64")
    return (offset, size) if offset > 1 else (0, 0)


class _Reader:
    """What all parts of one file share while it is read."""

    def __init__(self, file: File, model: Table) -> None:
        self.file = file
        self.model = model
        self.codes = [_operator(code, file) for code in model.tables(1)]
        self.buffers = [self._buffer(b) for b in model.tables(4)]
        self.subgraph_count = sum(1 for _ in model.tables(2))
        for entry in model.tables(6):  # Metadata is only copied, but that has its price too.
            entry.text(0)

    def graph(self) -> Graph:
        version = self.model.scalar(0, "u32")
        if version != SCHEMA_VERSION:
            raise self._wrong(f"schema version {version}, edgeq reads version {SCHEMA_VERSION}")
        subgraphs = tuple(self._subgraph(t, i) for i, t in enumerate(self.model.tables(2)))
        if not subgraphs or not subgraphs[0].ops:
            raise self._wrong("it has no operators")
        graph = Graph(
            subgraphs=subgraphs,
            signatures=tuple(self._signature(t, subgraphs) for t in self.model.tables(7)),
            description=self.model.text(3),
            schema_version=version,
            file_size=len(self.file.data),
        )
        self._refuse_recursion(graph)
        return graph

    def _buffer(self, table: Table) -> NDArray[np.uint8] | None:
        offset, size = _outside(table)
        if size:  # Models beyond 2 GB keep their data behind the flatbuffer.
            if offset + size > len(self.file.data):
                raise self.file.damaged(f"a buffer of {size} bytes at {offset} runs past its end")
            return np.frombuffer(self.file.data, np.uint8, count=size, offset=offset)
        data = table.vector(0, "u1")
        return data if data.size else None

    def _subgraph(self, table: Table, index: int) -> Subgraph:
        where = f"subgraph {index}"
        tensors = tuple(self._tensor(t, i, where) for i, t in enumerate(table.tables(0)))
        subgraph = Subgraph(
            name=table.text(4),
            tensors=tensors,
            inputs=self._indexes(table, 1, len(tensors), f"{where} inputs"),
            outputs=self._indexes(table, 2, len(tensors), f"{where} outputs"),
            ops=tuple(self._op(t, i, len(tensors), where) for i, t in enumerate(table.tables(3))),
        )
        if len(subgraph.ops) > _MAX_OPS or len(subgraph.inputs + subgraph.outputs) > _MAX_PORTS:
            raise self._wrong(
                f"{where} has {len(subgraph.ops)} operators, {len(subgraph.inputs)} inputs and "
                f"{len(subgraph.outputs)} outputs, more than any network for a device"
            )
        if not subgraph.outputs and index == 0:  # What CALL_ONCE calls may have none.
            raise self._wrong(f"{where} has no outputs")
        for i in subgraph.inputs:
            if subgraph.inputs.count(i) > 1:
                raise self._wrong(f"{where} lists tensor {i} ({tensors[i].name}) twice as an input")
        self._check_order(subgraph, where)
        return subgraph

    def _tensor(self, table: Table, index: int, where: str) -> Tensor:
        name = table.text(3)
        where = f"{where}, tensor {index} ({name})"
        shape = tuple(int(d) for d in table.vector(0, "i4"))
        code = table.scalar(1, "i8")
        if not 0 <= code < len(opcodes.TENSOR_TYPES):
            raise self._wrong(f"{where} has the unknown type {code}")
        dtype = opcodes.TENSOR_TYPES[code]
        if len(shape) > _MAX_RANK or any(d < 0 for d in shape):
            raise self._wrong(f"{where} has the impossible shape {list(shape)}")
        if math.prod(shape) * BITS.get(dtype, 0) > 8 * _MAX_BYTES:
            raise self._wrong(f"{where} of shape {list(shape)} would take over {_MAX_BYTES} bytes")
        signature = [int(d) for d in table.vector(7, "i4")]
        return Tensor(
            index=index,
            name=name,
            shape=shape,
            dtype=dtype,
            quantization=self._quantization(table.table(4), shape, where),
            data=self._data(table, shape, dtype, where),
            dynamic_dims=tuple(i for i, d in enumerate(signature) if d < 0),
            is_variable=table.scalar(5, "bool", False),
            is_sparse=table.has(6),
        )

    def _data(
        self, table: Table, shape: tuple[int, ...], dtype: str, where: str
    ) -> NDArray[Any] | None:
        index = table.scalar(2, "u32")
        if index >= len(self.buffers):
            raise self._wrong(f"{where} uses buffer {index} of {len(self.buffers)}")
        raw: NDArray[Any] | None = self.buffers[index]
        if raw is None or table.has(6):  # Sparse weights keep a coding of their own.
            return raw
        if dtype in BITS and raw.nbytes != (math.prod(shape) * BITS[dtype] + 7) // 8:
            raise self._wrong(
                f"{where} is {dtype} {list(shape)} and has {raw.nbytes} bytes of data"
            )
        if dtype not in NUMPY_TYPES:  # Elements of 4 bits stay packed.
            return raw
        values: NDArray[Any] = np.frombuffer(raw, NUMPY_TYPES[dtype]).reshape(shape)
        return values

    def _quantization(
        self, table: Table | None, shape: tuple[int, ...], where: str
    ) -> Quantization | None:
        if table is None:
            return None
        scales = tuple(float(s) for s in table.vector(2, "f4"))
        zero_points = tuple(int(z) for z in table.vector(3, "i8"))
        axis = table.scalar(6, "i32")
        if not scales:
            return None
        if not all(s > 0 and math.isfinite(s) for s in scales):
            raise self._wrong(f"{where} has a scale that is not a positive number")
        if len(scales) > 1 and (not 0 <= axis < len(shape) or shape[axis] != len(scales)):
            raise self._wrong(
                f"{where} of shape {list(shape)} has {len(scales)} scales on axis {axis}"
            )
        if len(zero_points) not in (0, 1, len(scales)):
            raise self._wrong(
                f"{where} has {len(scales)} scales and {len(zero_points)} zero points"
            )
        zero_points = zero_points or (0,)
        return Quantization(scales, zero_points * (len(scales) // len(zero_points)), axis)

    def _op(self, table: Table, index: int, tensor_count: int, where: str) -> Op:
        where = f"{where}, operator {index}"
        code = table.scalar(0, "u32")
        if code >= len(self.codes):
            raise self._wrong(f"{where} uses operator code {code} of {len(self.codes)}")
        name, version = self.codes[code]
        options, subgraphs = self._options(table, where)
        return Op(
            index=index,
            name=name,
            version=version,
            inputs=self._indexes(table, 1, tensor_count, f"{where} ({name})", optional=True),
            outputs=self._indexes(table, 2, tensor_count, f"{where} ({name})"),
            intermediates=self._indexes(table, 8, tensor_count, f"{where} ({name})"),
            options=options,
            subgraphs=subgraphs,
        )

    def _options(self, table: Table, where: str) -> tuple[dict[str, Any], tuple[int, ...]]:
        fields = opcodes.OPTIONS.get(table.scalar(3, "u8"), ())
        values = table.table(4) if fields else None
        if values is None:
            return {}, ()
        options: dict[str, Any] = {}
        subgraphs = []
        for slot, spec in enumerate(fields):
            kind, _, rest = spec.partition(" ")
            name, _, default = rest.partition(" ")
            if kind == "subgraph":
                target = values.scalar(slot, "i32")
                if not 0 <= target < self.subgraph_count:
                    raise self._wrong(f"{where} calls subgraph {target} of {self.subgraph_count}")
                subgraphs.append(target)
            elif kind != "-":
                options[name or kind] = self._option(values, slot, kind, int(default or 0), where)
        return options, tuple(subgraphs)

    def _option(self, values: Table, slot: int, kind: str, default: int, where: str) -> Any:
        names = {
            "padding": opcodes.PADDINGS,
            "activation": opcodes.ACTIVATIONS,
            "mirror_mode": opcodes.MIRROR_MODES,
            "type": opcodes.TENSOR_TYPES,
        }.get(kind)
        if names is not None:
            code = values.scalar(slot, "i8", default)
            if not 0 <= code < len(names):
                raise self._wrong(f"{where} has the unknown {kind} {code}")
            return names[code]
        if kind == "ints":
            return tuple(int(v) for v in values.vector(slot, "i4"))
        return values.scalar(slot, kind, bool(default) if kind == "bool" else default)

    def _signature(self, table: Table, subgraphs: tuple[Subgraph, ...]) -> Signature:
        key, index = table.text(2), table.scalar(4, "u32")
        if index >= len(subgraphs):
            raise self._wrong(f"signature {key!r} is for subgraph {index} of {len(subgraphs)}")
        sides = []
        for slot in (0, 1):
            pairs = tuple((t.text(0), int(t.scalar(1, "u32"))) for t in table.tables(slot))
            for name, tensor in pairs:
                if tensor >= len(subgraphs[index].tensors):
                    raise self._wrong(
                        f"signature {key!r} maps {name!r} to a tensor that is not there"
                    )
            sides.append(pairs)
        return Signature(key, index, sides[0], sides[1])

    def _indexes(
        self, table: Table, slot: int, count: int, where: str, optional: bool = False
    ) -> tuple[int, ...]:
        indexes = tuple(int(i) for i in table.vector(slot, "i4"))
        for i in indexes:
            if not (0 <= i < count or (optional and i == -1)):
                raise self._wrong(f"{where} names tensor {i} of {count}")
        self.file.spend(len(indexes))
        return indexes

    def _check_order(self, subgraph: Subgraph, where: str) -> None:
        """Each value is made once, before it is used; a loop through tensors is refused here."""
        known = {t.index for t in subgraph.tensors if t.is_constant or t.is_variable}
        known |= set(subgraph.inputs)
        for op in subgraph.ops:
            for i in op.inputs:
                if i >= 0 and i not in known and subgraph.tensors[i].elements > 0:
                    raise self._wrong(
                        f"{where}, operator {op.index} ({op.name}) reads tensor {i} "
                        f"({subgraph.tensors[i].name}) before anything has written it"
                    )
            for i in op.outputs:
                if subgraph.tensors[i].is_constant:
                    raise self._wrong(f"{where}, operator {op.index} ({op.name}) writes a constant")
            known |= set(op.outputs)
        for i in subgraph.outputs:
            if i not in known:
                raise self._wrong(f"{where}: nothing writes its output tensor {i}")

    def _refuse_recursion(self, graph: Graph) -> None:
        calls = {
            i: {t for op in s.ops for t in op.subgraphs} for i, s in enumerate(graph.subgraphs)
        }
        finished: set[int] = set()
        while len(finished) < len(calls):
            leaves = {
                i for i, targets in calls.items() if i not in finished and targets <= finished
            }
            if not leaves:
                raise self._wrong("its subgraphs call each other in a circle")
            finished |= leaves

    def _wrong(self, what: str) -> ModelError:
        return ModelError(
            f"{self.file.name}: {what}", hint="export the model again; this file makes no sense"
        )


def _operator(table: Table, file: File) -> tuple[str, int]:
    # Codes beyond 126 live in the newer 32-bit field; the old one then holds a placeholder.
    code = max(table.scalar(0, "i8"), table.scalar(3, "i32"))
    if not 0 <= code < len(opcodes.OPERATORS):
        raise file.damaged(f"operator code {code} is not in the schema")
    name = opcodes.OPERATORS[code]
    if name == "CUSTOM":
        name = f"CUSTOM:{table.text(1)}"
    return name, int(table.scalar(2, "i32", 1))
