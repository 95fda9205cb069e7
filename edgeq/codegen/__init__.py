"""What a device needs beside the model, generated for its family: C, Kotlin, or a runner.

Generators are pure functions from an Export to {file name: text or bytes}. They write nothing,
and the same Export gives the same bytes. Logic lives in runtime/ and is copied as it is; what is
generated is data and calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeq import resources
from edgeq.codegen import kotlin, python_runner, tflm
from edgeq.codegen.aot import Compiled
from edgeq.codegen.facts import ArenaFact, Export, Footprint
from edgeq.codegen.python_runner import LITERT_VERSION
from edgeq.codegen.readme import readme
from edgeq.errors import UsageError
from edgeq.operators import load_table
from edgeq.targets import Target

__all__ = ["ArenaFact", "Export", "Footprint", "generate", "generate_family", "readme"]


AOT = "aot"
"""The folder of a bundle that holds the network compiled to C."""


def generate(
    target: Target,
    export: Export,
    compiled: Compiled | None = None,
    footprint: Footprint | None = None,
    *,
    proof: Sequence[str] = (),
    litert_version: str = LITERT_VERSION,
    is_served: bool = False,
) -> dict[str, str | bytes]:
    """The files of a bundle for `target` but for manifest.json, model.tflite and golden/*.npz.

    `compiled` is the network in C, which becomes a folder of its own that builds alone, and
    `footprint` what it takes of the core, where that was measured. On a computer it is all there
    is, since LiteRT gives other bytes. `proof` is what was verified, a line each, for the README,
    which also tells how the firmware or the runner is run where the network `is_served`.
    `litert_version` is that of the golden outputs' reference. Raises what generate_family raises.
    """
    interpreter = target.interpreter or "litert"
    files: dict[str, str | bytes] = {}
    if target.core is not None or compiled is None:
        files = generate_family(
            target.family,
            export,
            adders={
                name: operator.resolver
                for name, operator in load_table("tflm").operators.items()
                if operator.resolver
            },
            interpreter=interpreter,
            pythons=target.python,
            litert_version=litert_version,
        )
    text = readme(
        target.family,
        export,
        target=target.title,
        proof=proof,
        cflags=target.core.cflags if target.core else (),
        interpreter=interpreter,
        pythons=target.python,
        compiled=compiled,
        footprint=footprint,
        serving=_serving_commands(target) if is_served else (),
    )
    if compiled is not None:
        files.update(_aot_folder(export, compiled, target.core is not None))
    return {"README.md": text, **files}


def _serving_commands(target: Target) -> tuple[str, ...]:
    if target.transport in _ADDRESSES:
        return (f"edgeq bench {target.name}{_ADDRESSES[target.transport]} --profile",)
    commands = []
    if target.sim:
        commands.append(f"edgeq bench {target.name} --sim --profile")
    if target.flasher:
        commands += [f"edgeq flash {target.name}", f"edgeq bench {target.name} --port auto"]
    return tuple(commands) or (f"edgeq bench {target.name} --port PORT",)


_ADDRESSES = {"local": "", "ssh": " --device ssh:pi@raspberrypi", "adb": " --device adb:auto"}
"""How a computer is named, by its transport."""


def _aot_folder(
    export: Export, compiled: Compiled, has_interpreter: bool
) -> dict[str, str | bytes]:
    """The network in C with what its users include beside it, and two ways to build it."""
    inside: dict[str, str | bytes] = dict(compiled.files)
    inside |= tflm.io_files(export, has_interpreter=has_interpreter)
    for name in ("Makefile", "CMakeLists.txt"):
        text = resources.path("runtime", "aot", name).read_text(encoding="utf-8")
        inside[name] = text.replace("@NAME@", export.name)
    return {f"{AOT}/{name}": text for name, text in inside.items()}


def generate_family(
    family: str,
    export: Export,
    *,
    adders: Mapping[str, str] | None = None,
    interpreter: str = "litert",
    pythons: Sequence[str] = (),
    litert_version: str = LITERT_VERSION,
) -> dict[str, str | bytes]:
    """What the targets of a `family` need, without the README.

    "cortex-m" needs `adders`, TFLM's resolver method for each operator: {"ADD": "AddAdd"}.
    "linux" and "host" take the target's `interpreter` and Python versions, and the LiteRT version
    that made the golden outputs. "android" needs nothing more.

    Raises DoesNotFit for an operator without a method, ModelError for inputs or outputs that
    generated code cannot hold, UsageError for another family or interpreter.
    """
    if family == "cortex-m":
        return tflm.generate(export, adders or {})
    if family in ("linux", "host"):
        return python_runner.generate(export, interpreter, pythons, litert_version)
    if family == "android":
        return kotlin.generate(export)
    raise UsageError(
        f"no code is generated for the family {family!r}",
        hint="families: cortex-m, linux, android, host",
    )
