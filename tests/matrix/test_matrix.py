"""The conversion matrix: 61 networks, each fully integer and the same everywhere, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.saved import save_networks
from matrix.table import DOCUMENT, known_rows, rows, settled
from matrix.trial import Verdict, judge

FEW = {
    "act_elu": ("islands",),
    "layernorm": ("products",),
    "reshape5d": ("transpose", "identity"),
    "tensor5d": ("conv3d",),
}
"""Some networks, each with what repairs it."""

LEAST = 50
"""Networks that become fully integer and agree."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    save_networks(folder, [*FEW])
    return folder


@pytest.mark.parametrize("name", FEW)
def test_a_network_that_no_quantizer_makes_integer_by_itself(name, few, tensorflow):
    verdict = judge(name, few, "int8", tensorflow)
    assert verdict.agrees, verdict
    assert set(FEW[name]) <= set(verdict.repairs)
    assert verdict.aot == "equal"


@pytest.fixture(scope="module")
def verdicts(
    tmp_path_factory: pytest.TempPathFactory, tensorflow
) -> tuple[list[Verdict], list[Verdict]]:
    folder = tmp_path_factory.mktemp("networks")
    names = save_networks(folder)
    assert len(names) == 61
    int8, int16x8 = (
        [judge(name, folder, scheme, tensorflow) for name in names]
        for scheme in ("int8", "int16x8")
    )
    return int8, int16x8


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_most_networks_become_integer_and_agree(verdicts):
    int8, _ = verdicts
    assert sum(verdict.agrees for verdict in int8) >= LEAST


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_what_does_not_is_refused_with_a_cure(verdicts):
    for verdict in (v for side in verdicts for v in side):
        assert verdict.is_integer or (verdict.error and verdict.hint), verdict
    assert all(verdict.agrees or verdict.error for verdict in verdicts[0])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_document_has_these_verdicts(verdicts):
    """PYTHONPATH=tests python -m matrix writes it."""
    assert [*map(settled, rows(*verdicts))] == [*map(settled, known_rows(DOCUMENT.read_text()))]
