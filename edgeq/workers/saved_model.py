"""What a SavedModel may consist of: it is a program, which TensorFlow runs while it converts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from edgeq.errors import ModelError

_MODES = frozenset(
    """bad_indices_policy dct_method debug_name dimension_numbers dst_format equation fill_mode
    frame_name input_order interpolation kernel_type message method noise row_partition_types
    set_operation src_format""".split()
)
"""Text attributes that choose a way of computing, or are said in an error."""

_TEXT = re.compile(
    r"""AsString|Decode(AndCropJpeg|Base64|Bmp|CSV|Gif|Image|Jpeg|PaddedRaw|Png|Raw|Wav|WebP)
    |ParseExample(V2)?|ParseSequenceExample(V2)?|ParseSingle(Sequence)?Example|ParseTensor
    |ReduceJoin|(Static)?Regex(FullMatch|Replace)|SparseCrossV2|UnsortedSegmentJoin
    |String(Format|Join|Length|Lower|NGrams|Split|SplitV2|Strip|ToNumber|Upper)
    |StringToHashBucket(Fast|Strong)?|Substr|Unicode(Decode|DecodeWithOffsets|Transcode)""",
    re.VERBOSE,
)
"""Operations that compute on texts and bytes, none of which they take for a name."""

_STATE = re.compile(
    r"""If|While|Case|(Stateful)?PartitionedCall|XlaCallModule
    |Assert|CheckNumerics(V2)?|GuaranteeConst|Empty
    |VarHandleOp|ReadVariableOp|Assign(Add|Sub)?VariableOp|VarIsInitializedOp|VariableShape
    |DestroyResourceOp|DisableCopyOnRead
    |Resource(Sparse)?Apply\w+|Resource(Gather|Scatter)\w+|ResourceStridedSliceAssign
    |ResourceCountUpTo
    |(Anonymous)?(Mutable|MutableDense)?HashTable(OfTensors)?(V2)?|InitializeTableV2
    |LookupTable(Export|Find|Import|Insert|Remove|Size)V2
    |(Stack|StackPush|StackPop|StackClose)V2|TensorArray\w*V3
    |Random(Crop|Gamma|Poisson|PoissonV2|Shuffle|StandardNormal|Uniform|UniformInt)
    |Multinomial|NonDeterministicInts|(Parameterized)?TruncatedNormal|Rng(ReadAndSkip|Skip)
    |Stateful(RandomBinomial|StandardNormal(V2)?|TruncatedNormal|Uniform|UniformFullInt|UniformInt)
    |StatelessRandomGetAlg|SampleDistortedBoundingBox(V2)?
    |(All|LearnedUnigram|LogUniform|ThreadUnsafeUnigram|Uniform)CandidateSampler
    |CudnnRNN(Backprop)?(V2|V3)?""",
    re.VERBOSE,
)
"""Operations with a state that is their own: calls, variables, tables, random numbers."""

_SAVER_OPS = frozenset(
    {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "CheckpointHasKey", "ShardedFilename"}
)
_SAVERS = ("__inference__traced_save", "__inference__traced_restore")


def refuse_foreign_operations(path: Path) -> None:
    """Raise ModelError when the SavedModel `path` has an operation that may reach beyond its
    tensors: to files, Python, other processes, the terminal.

    TensorFlow's registry of operations decides: what keeps no state and takes no text but from a
    closed list can only compute. Others are named above, one by one, or refused.
    """
    document = saved_model_pb2.SavedModel()
    try:
        document.ParseFromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as e:
        raise ModelError(
            f"{path.name}: damaged saved_model.pb: {e}", hint="export the model again"
        ) from e
    for meta in document.meta_graphs:
        library = meta.graph_def.library.function
        # With several graphs, or without objects, it loads as TensorFlow 1's: savers run too.
        as_objects = len(document.meta_graphs) == 1 and meta.HasField("object_graph_def")
        savers = _uncalled_savers(meta) if as_objects else set()
        functions = {f.signature.name for f in library}
        _refuse_in(meta.graph_def.node, path.name, functions)
        for function in library:
            in_saver = function.signature.name in savers
            nodes = [n for n in function.node_def if not (in_saver and n.op in _SAVER_OPS)]
            _refuse_in(nodes, path.name, functions)


def _uncalled_savers(meta: Any) -> set[str]:
    """The functions that write or read checkpoints and that only the saver's own nodes call:
    loading a model's objects runs its initialisers and reads its variables, but none of these."""
    graph, saver = meta.graph_def, meta.saver_def
    library = graph.library
    own = {saver.save_tensor_name.split(":")[0], saver.restore_op_name}
    called = set(meta.object_graph_def.concrete_functions)
    called |= {g.gradient_func for g in library.gradient}
    called |= {g.gradient_func for g in library.registered_gradients}
    nodes = [n for n in graph.node if n.name not in own]
    for node in [*nodes, *(n for f in library.function for n in f.node_def)]:
        called.add(node.op)
        for value in node.attr.values():
            called |= {value.func.name, *(f.name for f in value.list.func)}
    return {
        f.signature.name
        for f in library.function
        # What implements an interface may take another function's place.
        if f.signature.name.startswith(_SAVERS) and "api_implements" not in f.attr
    } - called


def _refuse_in(nodes: Iterable[Any], name: str, functions: set[str]) -> None:
    for node in nodes:
        if node.op in functions or _only_computes(node.op):
            continue
        what = f"{name}: operation {node.name!r} ({node.op})"
        if op_def_registry.get(node.op) is None:
            raise ModelError(
                f"{what} is none of TensorFlow {tf.__version__}",
                hint="replace that layer by TensorFlow's own operations, and export again",
            )
        raise ModelError(
            f"{what} is none that a network consists of: it may touch files, call Python or print",
            hint="a network for a device has no such operation; export the layers alone",
        )


def _only_computes(op: str) -> bool:
    definition = op_def_registry.get(op)
    if definition is None:
        return False
    if _STATE.fullmatch(op) or _TEXT.fullmatch(op):
        return True
    # A reference to a string is a TensorFlow 1 handle, which no operation here could make.
    texts = [a for a in definition.input_arg if a.type == types_pb2.DT_STRING]
    words = [
        a
        for a in definition.attr
        if a.type in ("string", "list(string)")
        and not a.HasField("allowed_values")
        and a.name not in _MODES
    ]
    return not (definition.is_stateful or texts or words)
