"""The memory planner, and its checker."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from edgeq.graph import Op, Subgraph, Tensor
from edgeq.memory import Buffer, MemoryPlan, Needs, Overlap, check_plan, draw_svg, draw_text
from edgeq.memory import plan_memory as plan


def chain(*sizes: int, shortcut: tuple[int, int] | None = None) -> Subgraph:
    """Operators in a row; tensor i has sizes[i] bytes. `shortcut`: a tensor, who reads it too."""
    tensors = tuple(Tensor(i, f"t{i}", (size,), "int8") for i, size in enumerate(sizes))
    ops = []
    for i in range(len(sizes) - 1):
        extra = (shortcut[0],) if shortcut and shortcut[1] == i else ()
        ops.append(Op(i, "OP", 1, (i, *extra), (i + 1,)))
    return Subgraph("main", tensors, (0,), (len(sizes) - 1,), tuple(ops))


def planned(subgraph: Subgraph, needs: list[Needs] | None = None) -> MemoryPlan:
    needs = needs or [Needs()] * len(subgraph.ops)
    made = plan(subgraph, needs)
    check_plan(made, subgraph, needs)
    return made


def test_a_chain_needs_its_largest_neighbours() -> None:
    made = planned(chain(100, 3000, 2000, 3200, 16))
    assert made.size == made.lower_bound == 5200
    assert made.peak_step == 2
    assert made.peak_bytes == 5200


def test_the_peak_is_where_the_arena_ends() -> None:
    overlaps = (Overlap(0, 0, lead=64),)
    made = planned(chain(512, 512, 512, 512), [Needs(overlaps=overlaps)] * 3)
    assert made.size == 512 + 3 * 64
    assert made.peak_step == 0
    assert made.peak_bytes == 512 + 64


def test_inputs_and_outputs_are_in_the_arena_and_reused() -> None:
    made = planned(chain(512, 512, 512, 512))
    assert made.size == 1024
    assert {made.offset(0), made.offset(2)} == {0} or {made.offset(1), made.offset(3)} == {0}


def test_offsets_are_aligned() -> None:
    made = planned(chain(1, 3, 5, 7, 9))
    assert all(offset % 16 == 0 for offset in made.offsets)
    assert made.size % 16 == 0


def test_a_shortcut_stays_alive() -> None:
    made = planned(chain(64, 64, 64, 64, 64, shortcut=(1, 3)))
    assert made.size == 3 * 64
    assert made.buffers[made.group(1)].last == 3


def test_in_place_saves_the_output() -> None:
    subgraph = chain(4096, 4096, 4096)
    needs = [Needs(overlaps=(Overlap(0, 0),))] * 2
    made = planned(subgraph, needs)
    assert made.size == made.lower_bound == 4096
    assert made.offset(0) == made.offset(1) == made.offset(2)


def test_in_place_may_ask_for_a_lead() -> None:
    made = planned(chain(1024, 1024), [Needs(overlaps=(Overlap(0, 0, lead=256),))])
    assert made.size == made.lower_bound == 1280
    assert made.offset(1) + 256 == made.offset(0)


def test_nothing_is_written_over_an_input_that_lives_on() -> None:
    subgraph = chain(256, 256, 256, 256, shortcut=(1, 2))
    needs = [Needs(overlaps=(Overlap(0, 0), Overlap(0, 1)) if i == 2 else (Overlap(0, 0),))
             for i in range(3)]  # fmt: skip
    made = planned(subgraph, needs)
    assert made.offset(1) != made.offset(2)
    assert made.size == 512


def test_an_operator_that_reads_one_tensor_twice_must_allow_both() -> None:
    tensors = tuple(Tensor(i, f"t{i}", (256,), "int8") for i in range(2))
    twice = Subgraph("main", tensors, (0,), (1,), (Op(0, "OP", 1, (0, 0), (1,)),))
    assert planned(twice, [Needs(overlaps=(Overlap(0, 0),))]).size == 512
    assert planned(twice, [Needs(overlaps=(Overlap(0, 0), Overlap(0, 1)))]).size == 256


def test_an_alias_is_free_and_keeps_its_bytes_alive() -> None:
    subgraph = chain(128, 128, 128, 128, shortcut=(1, 2))
    needs = [Needs(), Needs(is_alias=True), Needs()]
    made = planned(subgraph, needs)
    assert made.group(1) == made.group(2)
    assert made.size == 256


def test_scratch_lives_for_one_operator() -> None:
    made = planned(chain(16, 16, 16), [Needs(scratch=1000), Needs(scratch=1000)])
    assert made.size == 32 + 1008
    assert made.scratch_offset(0) >= 0
    with pytest.raises(KeyError):
        made.scratch_offset(2)


def test_state_is_kept_for_ever() -> None:
    tensors = (
        Tensor(0, "x", (64,), "int8"),
        Tensor(1, "state", (32,), "int8", is_variable=True),
        Tensor(2, "h", (64,), "int8"),
        Tensor(3, "y", (64,), "int8"),
    )
    ops = (Op(0, "SVDF", 1, (0, 1), (2,)), Op(1, "OP", 1, (2,), (3,)))
    subgraph = Subgraph("main", tensors, (0,), (3,), ops)
    made = planned(subgraph)
    state = made.buffers[made.group(1)]
    assert (state.first, state.last) == (-1, 2)
    assert made.size == 160


def test_constants_and_missing_inputs_take_no_room() -> None:
    tensors = (
        Tensor(0, "x", (64,), "int8"),
        Tensor(1, "w", (999,), "int8", data=np.zeros(999, np.int8)),
        Tensor(2, "y", (64,), "int8"),
    )
    subgraph = Subgraph("main", tensors, (0,), (2,), (Op(0, "OP", 1, (0, 1, -1), (2,)),))
    made = planned(subgraph)
    assert not made.has(1) and not made.has(-1)
    assert made.size == 128


def test_an_input_that_nobody_reads_has_a_place() -> None:
    tensors = tuple(Tensor(i, f"t{i}", (64,), "int8") for i in range(3))
    subgraph = Subgraph("main", tensors, (0, 1), (2,), (Op(0, "OP", 1, (0,), (2,)),))
    made = planned(subgraph)
    assert made.offset(0) != made.offset(1)


def random_case(seed: int) -> tuple[Subgraph, list[Needs]]:
    chance = random.Random(seed)
    count = chance.randrange(2, 30)
    tensors = [Tensor(0, "t0", (chance.randrange(1, 500),), "int8")]
    ops, needs = [], []
    for i in range(count):
        reads = tuple(
            chance.randrange(max(0, len(tensors) - 4), len(tensors))
            for _ in range(chance.randrange(1, 4))
        )
        is_alias = chance.random() < 0.1
        wrote = []
        for _ in range(1 if is_alias else chance.randrange(1, 3)):
            size = tensors[reads[0]].elements if is_alias else chance.randrange(1, 2000)
            wrote.append(len(tensors))
            tensors.append(Tensor(len(tensors), f"t{len(tensors)}", (size,), "int8"))
        ops.append(Op(i, "OP", 1, reads, tuple(wrote)))
        overlaps = tuple(
            Overlap(o, p, chance.choice([0, 0, 16, 100]))
            for o in range(len(wrote))
            for p in range(len(reads))
            if chance.random() < 0.5 and not is_alias
        )
        needs.append(Needs(chance.choice([0, 0, 0, 77]) * (not is_alias), overlaps, is_alias))
    outputs = tuple({len(tensors) - 1, chance.randrange(len(tensors))})
    return Subgraph("main", tuple(tensors), (0,), outputs, tuple(ops)), needs


@pytest.mark.parametrize("seed", range(120))
def test_random_graphs(seed: int) -> None:
    subgraph, needs = random_case(seed)
    made = plan(subgraph, needs, work=20_000)
    check_plan(made, subgraph, needs)
    assert made.lower_bound <= made.size <= sum(b.size + 15 for b in made.buffers) + 15
    again = plan(subgraph, needs, work=20_000)
    assert again == made


def test_most_random_graphs_are_planned_near_the_bound() -> None:
    ratios = []
    for seed in range(60):
        subgraph, needs = random_case(seed)
        made = plan(subgraph, needs, work=50_000)
        ratios.append(made.size / (made.lower_bound + 15))
    assert sum(ratio < 1.1 for ratio in ratios) > 45


@pytest.mark.parametrize("seed", range(40))
def test_the_check_finds_a_buffer_that_was_moved(seed: int) -> None:
    """Over another that is alive at the same time, where no operator allows it."""
    subgraph, needs = random_case(seed)
    needs = [dataclasses.replace(n, overlaps=()) for n in needs]
    made = plan(subgraph, needs, work=1000)
    chance = random.Random(seed)
    pairs = [
        (i, j)
        for i, a in enumerate(made.buffers)
        for j, b in enumerate(made.buffers)
        if i != j and a.meets(b)
    ]
    i, j = chance.choice(pairs)
    offsets = list(made.offsets)
    offsets[i] = offsets[j]
    with pytest.raises(ValueError):
        check_plan(dataclasses.replace(made, offsets=tuple(offsets)), subgraph, needs)


def test_the_check_finds_a_lead_that_is_too_small() -> None:
    subgraph = chain(1024, 1024)
    made = planned(subgraph, [Needs(overlaps=(Overlap(0, 0, lead=256),))])
    with pytest.raises(ValueError, match="writes tensor 1 over tensor 0"):
        check_plan(made, subgraph, [Needs(overlaps=(Overlap(0, 0, lead=272),))])


def test_drawings_name_what_takes_the_room() -> None:
    made = planned(chain(100, 3000, 2000, 16), [Needs(scratch=50), Needs(), Needs()])
    text = draw_text(made)
    assert "t1" in text and "scratch of OP" in text
    assert f"{made.size}" in text
    svg = draw_svg(made)
    assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>")
    assert svg.count("<rect") >= len(made.buffers)


def test_names_cannot_break_a_drawing() -> None:
    buffers = (Buffer('a"><script>&', 16, -1, 1, (0,)),)
    made = MemoryPlan(buffers, (0,), 16, 16, 0, 16, "by size", 16, ("OP",), {0: 0})
    assert "<script>" not in draw_svg(made)
