"""Names that no network can have: its header would stand in the way of another one."""

from __future__ import annotations

from functools import cache

from edgeq import resources
from edgeq.errors import ModelError

_C_LIBRARY = frozenset(
    # C11's own.
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal "
    "stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath "
    "threads time uchar wchar wctype "
    # What these include, in newlib, glibc and GCC.
    "alloca endian features newlib pthread sched strings syslimits unistd".split()
)


def check_name(name: str) -> None:
    """Raise ModelError where <name>.h or <name>.c would be found in place of another file.

    The folder of a network is on the compiler's -I, before the C library's. Some file systems do
    not know capitals.
    """
    if name.lower() in _C_LIBRARY:
        whose = f"the C library has a {name.lower()}.h"
    elif name.lower() in _runtime_names():
        whose = "the runtime has files of that name"
    else:
        return
    raise ModelError(
        f"a network cannot be called {name!r}: {whose}",
        hint="give another one with --name, or rename the model file",
    )


@cache
def _runtime_names() -> frozenset[str]:
    runtime = resources.path("runtime")
    headers = {p.stem for p in runtime.rglob("*.h")} | {"edgeq_firmware"}
    sources = {p.stem for folder in ("core", "kernels") for p in (runtime / folder).glob("*.c")}
    return frozenset(headers | sources)
