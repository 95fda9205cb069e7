"""Saving the networks: Keras runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

QUIET = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}


def save_networks(folder: Path, names: Sequence[str] = ()) -> list[str]:
    """The networks `names`, or all, in `folder`; their names in order."""
    program = Path(__file__).with_name("networks.py")
    subprocess.run(
        [sys.executable, str(program), str(folder), *names],
        env={**os.environ, **QUIET},
        check=True,
        capture_output=True,
        timeout=280,
    )
    return sorted({path.stem for path in folder.glob("*.np?")}, key=str.lower)
