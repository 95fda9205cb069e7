"""The conversion matrix: 61 networks, each fully integer and the same everywhere, or refused."""

from __future__ import annotations

import pytest

from matrix.saved import save_networks
from matrix.table import DOCUMENT, known_rows, rows, settled
from matrix.trial import judge

FEW = {
    "act_elu": ("islands",),
    "layernorm": ("products",),
    "reshape5d": ("transpose", "identity"),
    "tensor5d": ("conv3d",),
}
"""Some networks, each with what repairs it."""

LEAST = 50
"""Networks that become fully integer and agree."""


def test_networks_that_no_quantizer_makes_integer_by_itself(tmp_path, tensorflow):
    save_networks(tmp_path, [*FEW])
    for name, repairs in FEW.items():
        verdict = judge(name, tmp_path, "int8", tensorflow)
        assert verdict.agrees and verdict.aot == "equal", verdict
        assert {*repairs} <= {*verdict.repairs}, verdict


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_matrix(tmp_path, tensorflow):
    """One test, so that pytest's workers do not each convert all of it.

    Most networks become integer and agree, each other is refused with a cure, and the document,
    which PYTHONPATH=tests python -m matrix writes, has these verdicts.
    """
    names = save_networks(tmp_path)
    assert len(names) == 61
    int8, int16x8 = (
        [judge(name, tmp_path, scheme, tensorflow) for name in names]
        for scheme in ("int8", "int16x8")
    )
    assert sum(verdict.agrees for verdict in int8) >= LEAST
    assert all(verdict.agrees or verdict.error for verdict in int8)
    for verdict in int8 + int16x8:
        assert verdict.is_integer or verdict.hint, verdict
    document = known_rows(DOCUMENT.read_text())
    assert [*map(settled, rows(int8, int16x8))] == [*map(settled, document)]
