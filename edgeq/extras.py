"""What edgeq's extras consist of, as a line that installs it."""

from __future__ import annotations

import re
import shlex
from importlib import metadata

ONNX2TF = "EDGEQ_ONNX2TF"
"""The variable that names the program onnx2tf where it is not on the PATH."""

ONNX2TF_INSTALL = (
    "pipx install --python python3.12 'onnx2tf>=2.6,<3': it pins its packages, so it wants an "
    f"environment of its own; {ONNX2TF} may name the program"
)


def install_line(extra: str) -> str:
    """The pip command for the packages of `extra`, by their own names.

    Not "edgeq[extra]": edgeq may be run from a checkout, and an index may have another edgeq.
    """
    try:
        requirements = metadata.requires("edgeq") or []
    except metadata.PackageNotFoundError:
        return f"pip install '.[{extra}]', in edgeq's own folder"
    wanted = re.compile(rf"""^(.+?)\s*;.*\bextra\s*==\s*['"]{re.escape(extra)}['"]""")
    found = [m[1].replace(" ", "") for r in requirements if (m := wanted.match(r))]
    return "pip install " + " ".join(shlex.quote(f) for f in found)
