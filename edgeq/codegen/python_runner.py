"""What a Raspberry Pi or another computer needs: run.py, as it is in runtime/, and its packages."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq import resources
from edgeq.codegen.facts import Export, check
from edgeq.codegen.text import banner
from edgeq.errors import UsageError

LITERT_VERSION = "2.3.0"
TFLITE_RUNTIME_VERSION = "2.14.0"

# What PyPI has, asked with pip download --only-binary=:all: --no-deps --platform --python-version:
#
# ai-edge-litert 2.3.0   manylinux_2_27_aarch64   cp310 cp311 cp312 cp313 cp314, not cp39
#                        manylinux_2_27_x86_64    cp310 cp311 cp312 cp313 cp314
#                        macosx_12_0_arm64, win_amd64   cp311
#                        armv7l                   none
# tflite-runtime 2.14.0  manylinux_2_34_armv7l    cp39 cp310 cp311, not cp312
#                        manylinux_2_34_aarch64   cp39 cp311; ai-edge-litert has replaced it there
# numpy                  manylinux_2_27_aarch64   2.4.6 cp311, 2.5.5 cp312 and cp313
#                        armv7l                   none below 2: Debian's python3-numpy (1.24 in
#                                                 bookworm), or piwheels, which Raspberry Pi OS asks
#
# manylinux_2_27 needs glibc 2.27, manylinux_2_34 glibc 2.34; bookworm has 2.36, trixie 2.41.


def generate(
    export: Export,
    interpreter: str,
    pythons: Sequence[str] = (),
    litert_version: str = LITERT_VERSION,
) -> dict[str, str | bytes]:
    """run.py and requirements.txt. Its arguments are those of `requirements`."""
    check(export)
    run = resources.path("runtime", "runners", "python", "run.py")
    text = banner(export, ["What run.py needs:"], mark="#")
    return {
        "run.py": run.read_text(encoding="utf-8"),
        "requirements.txt": text
        + requirements(interpreter, pythons, litert_version)
        + ("pillow\n" if export.takes_images else ""),
    }


def python_releases(interpreter: str, pythons: Sequence[str]) -> str:
    """Which Pythons have wheels of the interpreter, and which the target's system brings."""
    has = "Python 3.9 to 3.11" if interpreter == "tflite-runtime" else "Python 3.10 to 3.14"
    return f"{has} (its system has {' or '.join(pythons)})" if pythons else has


def requirements(
    interpreter: str, pythons: Sequence[str] = (), litert_version: str = LITERT_VERSION
) -> str:
    """The lines of requirements.txt for a target's `interpreter` and Python versions.

    `litert_version` is that of the golden vectors' reference: with the same version, run.py can
    check its kernels byte for byte. Raises UsageError for an unknown interpreter.
    """
    releases = python_releases(interpreter, pythons)
    if interpreter == "litert":
        return (
            f"# A 64-bit system with glibc 2.27 or later (or macOS, Windows) and {releases}.\n"
            "# The version is exact: the golden vectors come from its reference kernels.\n"
            f"ai-edge-litert=={litert_version}\n"
            "numpy>=1.26\n"
        )
    if interpreter == "tflite-runtime":
        return (
            f"# A 32-bit Arm system with glibc 2.34 or later and {releases}.\n"
            "# tflite-runtime was built for numpy 1. PyPI has none for 32-bit Arm, so take the\n"
            "# system's:\n"
            "#     sudo apt install python3-numpy\n"
            "#     python3 -m venv --system-site-packages venv\n"
            f"tflite-runtime=={TFLITE_RUNTIME_VERSION}\n"
            "numpy<2\n"
        )
    raise UsageError(
        f"no requirements are known for the interpreter {interpreter!r}",
        hint="a target's interpreter is litert or tflite-runtime",
    )
