"""PYTHONPATH=tests python -m matrix: the 61 networks converted and proved, into docs/matrix.md.

With names, these alone, and nothing is written.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from edgeq.models import tensorflow_session
from matrix.saved import save_networks
from matrix.table import DOCUMENT, document, with_table
from matrix.trial import Verdict, judge


def main(names: list[str]) -> int:
    found: dict[str, list[Verdict]] = {"int8": [], "int16x8": []}
    with tempfile.TemporaryDirectory() as place, tensorflow_session() as session:
        folder = Path(place)
        for name in save_networks(folder, names):
            for scheme, verdicts in found.items():
                verdict = judge(name, folder, scheme, session)
                verdicts.append(verdict)
                level = "" if verdict.sqnr_db is None else f"{verdict.sqnr_db:.1f} dB"
                said = verdict.error or f"{level}, TFLM {verdict.tflm}, aot {verdict.aot}"
                print(f"{name:26}{scheme:9}{said.splitlines()[0]}", file=sys.stderr, flush=True)
    agree = {scheme: sum(v.agrees for v in verdicts) for scheme, verdicts in found.items()}
    print(f"agree, of {len(found['int8'])}: {agree}")
    if not names:
        text = DOCUMENT.read_text()
        DOCUMENT.write_text(with_table(text, document(*found.values())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
