"""Calls of C compilers, and the header that tells runtime/ports/main.c which network it serves."""

from __future__ import annotations

import math

from edgeq.codegen.facts import Export
from edgeq.errors import ConversionError, DoesNotFit
from edgeq.targets import Target
from edgeq.transports.process import run

COMPILE_LIMIT = 300.0
"""Seconds; zig compiles its C library when it first compiles for a processor, 30 s of one core."""
_OUTPUT_LIMIT = 1 << 24
"""Bytes; a disassembly is long."""

HEADER = "edgeq_firmware.h"
FIRMWARE_VERSION = 1
"""Of what HEADER must define; runtime/ports/main.c checks it."""

BENCHMARKS = {
    "kws01": "eq_input_raw",
    "vww01": "eq_input_uint8",
    "ic01": "eq_input_uint8",
    "ad01": "eq_input_float32",
}
"""MLPerf Tiny's IDs, and how each one's runner gives the input (runtime/PROTOCOL.md)."""

_INSTALL = "edgeq doctor has the line that installs it"


def call(argv: list[str], target: Target | None = None) -> str:
    """What a program of a toolchain prints.

    Raises DoesNotFit when the linker runs out of `target`'s flash or RAM, MissingProgram without
    the program, ConversionError for anything else that it says.
    """
    done = run(argv, install=_INSTALL, time_limit=COMPILE_LIMIT, output_limit=_OUTPUT_LIMIT)
    if done.code == 0:
        return done.output
    overflow = [line for line in done.output.splitlines() if "overflowed by" in line]
    if overflow and target is not None:
        raise DoesNotFit(
            f"the firmware does not fit {target.name}: {overflow[0].split(': ')[-1]}",
            hint="use fewer channels or smaller inputs, or a target with more memory",
        )
    if done.code is None:
        raise ConversionError(
            f"{argv[0]} did not end within {COMPILE_LIMIT:g} s",
            hint="does it work at all? The command: " + done.command[:500],
        )
    raise ConversionError(
        f"{argv[0]} could not build what serves the network:\n{done.output[-1500:]}",
        hint="another version of the compiler may help: edgeq doctor",
    )


def header(target: Target, export: Export, mlperf: str | None = None) -> str:
    """HEADER for the network of `export`, with `mlperf`, one of BENCHMARKS, as its device."""
    name = export.name
    inputs = sum(port.tensor.bytes for port in export.graph.inputs)
    lines = [
        f'#include "{name}.h"',
        f"#define EDGEQ_FIRMWARE_VERSION {FIRMWARE_VERSION}",
        f"#define EDGEQ_MODEL {name}_model",
        f"#define EDGEQ_ARENA_SIZE {name.upper()}_ARENA_SIZE",
        f"#define EDGEQ_INPUT_BYTES {inputs}",
        '#define EDGEQ_ENGINE "aot"',
        f'#define EDGEQ_TARGET "{target.name}"',
    ]
    if mlperf is not None:
        lines += [
            f'#define EDGEQ_BENCHMARK "{mlperf}"',
            f"#define EDGEQ_INPUT {BENCHMARKS[mlperf]}",
        ]
        if BENCHMARKS[mlperf] == "eq_input_float32":
            elements = math.prod(export.graph.inputs[0].tensor.shape)
            lines.append(f"#define EDGEQ_DB_BYTES {4 * elements}")
    return "".join(f"{line}\n" for line in lines)
