"""The fuzzer's corpus, kept as one file: inputs in hex, in corpus.json.

python corpus.py unpack FOLDER     writes each to a file of its own, for fuzz_harness
python corpus.py pack FOLDER       takes what is in FOLDER now
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FILE = Path(__file__).with_name("corpus.json")


def unpack(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, text in enumerate(json.loads(FILE.read_text())):
        paths.append(folder / f"{number:04}")
        paths[-1].write_bytes(bytes.fromhex(text))
    return paths


def pack(folder: Path) -> None:
    inputs = sorted({path.read_bytes().hex() for path in folder.iterdir()})
    FILE.write_text(json.dumps(inputs, indent=0) + "\n")


if __name__ == "__main__":
    {"unpack": unpack, "pack": pack}[sys.argv[1]](Path(sys.argv[2]))
