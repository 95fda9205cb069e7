"""SPACE_TO_DEPTH, DEPTH_TO_SPACE, SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND: eq_move.h."""

from __future__ import annotations

import math

from edgeq.codegen.aot.layer import (
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    input_tensor,
    label,
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.moves import (
    Move,
    element_bytes,
    integers,
    one_move,
    same_type,
    wrong_shapes,
)
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.targets import Core


def space_to_depth(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    return one_move(op, input, Move(_block_sides(op, input, output, output, far_first=True)))


def depth_to_space(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    return one_move(op, input, Move(_block_sides(op, output, input, output, far_first=False)))


def _block_sides(
    op: Op, image: Tensor, deep: Tensor, output: Tensor, far_first: bool
) -> tuple[tuple[int, int, int], ...]:
    """The sides of a copy between an image and the one whose channels are blocks of it."""
    same_type(op, image, deep)
    block = int(op.options.get("block_size", 0))
    if len(image.shape) != 4 or block < 1:
        raise wrong_shapes(op)
    batches, height, width, depth = image.shape
    rows, columns = height // block, width // block
    if deep.shape != (batches, rows, columns, depth * block * block) or (
        (rows * block, columns * block) != (height, width)
    ):
        raise wrong_shapes(op)
    line = width * depth
    names = {  # side: length, step in the image, step in the deep one
        "batch": (batches, height * line, height * line),
        "row": (rows, block * line, block * line),
        "column": (columns, block * depth, block * block * depth),
        "block row": (block, line, block * depth),
        "block column": (block, depth, depth),
        "channel": (depth, 1, 1),
    }
    if far_first:  # The order of the deep one, which is written.
        order = ["batch", "row", "column", "block row", "block column", "channel"]
        return tuple(names[n] for n in order)
    order = ["batch", "row", "block row", "column", "block column", "channel"]
    return tuple((n, b, a) for n, a, b in (names[name] for name in order))


def space_to_batch(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    code = _blocks(op, subgraph, input, output, "eq_space_to_batch")
    if input.elements == output.elements:
        return code
    # LiteRT's. TFLM never sets the value, and pads with what its arena held.
    fill = quantization(op, output).zero_point if output.dtype == "int8" else 0
    blank = Call("memset", (Output(), str(fill), str(output.bytes)))
    return LayerCode((blank, *code.calls), code.constants, code.sources, code.headers)


def batch_to_space(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    return _blocks(op, subgraph, output, input, "eq_batch_to_space")


def _blocks(op: Op, subgraph: Subgraph, image: Tensor, blocks: Tensor, kernel: str) -> LayerCode:
    """The call of `kernel`; the paddings or crops are what the blocks have beyond the image."""
    same_type(op, image, blocks)
    rank = len(image.shape)
    if rank not in (3, 4) or len(blocks.shape) != rank:
        raise refuse(op, f"it has {rank} sides, and only 3 or 4 are supported")
    block = integers(op, subgraph, 1)
    edges = integers(op, subgraph, 2)
    if len(block) != rank - 2 or len(edges) != 2 * len(block) or min(block) < 1 or min(edges) < 0:
        raise wrong_shapes(op)
    covered = [
        (b * size, edges[2 * i] + image.shape[1 + i] + edges[2 * i + 1])
        for i, (b, size) in enumerate(zip(block, blocks.shape[1:], strict=False))
    ]
    if (
        any(a != b for a, b in covered)
        or blocks.shape[0] != image.shape[0] * math.prod(block)
        or blocks.shape[-1] != image.shape[-1]
    ):
        raise wrong_shapes(op)
    # Without a width, the image is one pixel wide.
    pairs = [*zip(image.shape[1:-1], block, blocks.shape[1:-1], edges[::2], strict=True)]
    pairs += [(1, 1, 1, 0)] * (4 - rank)
    (height, block_height, rows, top), (width, block_width, columns, left) = pairs
    name = label(op)
    fields = (
        ("batches", image.shape[0]),
        ("height", height),
        ("width", width),
        ("pixel", image.shape[-1] * element_bytes(image)),
        ("block_height", block_height),
        ("block_width", block_width),
        ("blocks_height", rows),
        ("blocks_width", columns),
        ("top", top),
        ("left", left),
    )
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_block_move_t", fields),),
        sources=(f"{kernel}.c",),
        headers=("eq_move.h",),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    **{("BATCH_TO_SPACE_ND", dtype): batch_to_space for dtype in ("int8", "float32")},
    **{("DEPTH_TO_SPACE", dtype): depth_to_space for dtype in ("int8", "float32")},
    **{("SPACE_TO_BATCH_ND", dtype): space_to_batch for dtype in ("int8", "float32")},
    **{("SPACE_TO_DEPTH", dtype): space_to_depth for dtype in ("int8", "float32")},
}
