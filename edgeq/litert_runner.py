"""Engine litert on a machine that was reached: which way of serving it fits there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from edgeq import litert_files, venvs
from edgeq.bundle import Bundle
from edgeq.errors import BundleError, DeviceFault, MissingProgram, UsageError
from edgeq.litert_files import Job
from edgeq.machines import Runner
from edgeq.probe import Facts
from edgeq.targets import Target
from edgeq.tflite import read_graph
from edgeq.transports.local import LocalMachine
from edgeq.transports.machine import Machine

Notice = Callable[[str], None]

REQUIREMENTS = "requirements.txt"
_ASK_LIMIT = 60.0

_WHERE = """\
import importlib.metadata as m, importlib.util as u
name = {package!r}
found = u.find_spec(name.replace("-", "_"))
print(found.submodule_search_locations[0] if found else "", m.version(name), sep="\\n")
"""


def litert_runner(
    machine: Machine,
    facts: Facts,
    bundle: Bundle,
    target: Target,
    *,
    threads: int,
    offline_wheels: bool,
    litert_lib: Path | None,
    notice: Notice,
) -> Runner:
    """What serves the bundle there: on a phone LiteRT's C library, which is brought; on a Pi what
    its own Python environment has, which is made at the first use.

    Raises UsageError, MissingProgram for what this computer lacks, DeviceFault for what that one
    does.
    """
    job = Job(bundle.tflite, bundle.name, target.name, threads)
    refused = litert_files.c_refuses(read_graph(job.tflite, job.name))
    if facts.is_android:
        if refused is not None:
            raise UsageError(
                f"{bundle.name} cannot be served on a phone by engine litert: {refused}",
                hint="build it with --engine aot; an app's interpreter for Java takes it, too",
            )
        return _on_a_phone(machine, facts, job, litert_lib)
    if litert_lib is not None:
        raise UsageError(
            f"--litert-lib is for phones, and {machine.name} is none", hint="leave it out"
        )
    python = _python(machine, bundle, offline_wheels, notice)
    package = target.interpreter if target.interpreter != "litert" else litert_files.PACKAGE
    folder, version = _installed(machine, python, str(package))
    if refused is not None:
        notice(f"{bundle.name}: Python serves the network: {refused}")
    elif package == litert_files.PACKAGE and facts.arch is not None:
        try:
            runner = litert_files.build_runner(facts.arch)
        except MissingProgram as e:
            notice(f"{e.message}: Python serves the network instead ({e.hint})")
        else:
            return litert_files.on_linux(job, runner, f"{folder}/{litert_files.LIBRARY}", version)
    return litert_files.in_python(job, python, version)


def _on_a_phone(machine: Machine, facts: Facts, job: Job, litert_lib: Path | None) -> Runner:
    if litert_lib is not None:
        library = litert_files.user_library(litert_lib, facts.arch or "")
        own = litert_files.build_runner(facts.arch or "", for_android=True)
        return litert_files.on_android(job, own, library, None)
    if facts.arch != "aarch64":
        raise UsageError(
            f"{machine.name}: LiteRT's library is not to be had for {facts.machine}",
            hint="--litert-lib FILE names your own; or build with --engine aot, which needs none",
        )
    runner = litert_files.build_runner(facts.arch)
    library = litert_files.fetch_library()
    glibc = litert_files.glibc_files(runner, library.content)
    return litert_files.on_android(job, runner, library, glibc)


def _python(machine: Machine, bundle: Bundle, offline_wheels: bool, notice: Notice) -> str:
    """The interpreter there that has what the bundle requires; this computer's is our own."""
    if isinstance(machine, LocalMachine):
        return sys.executable
    path = bundle.folder / REQUIREMENTS
    if not path.is_file():
        raise BundleError(
            f"{path}: no such file, so nothing says what to install on {machine.name}",
            hint="build it for the machine's own target: rpi, rpi-armv7",
        )
    requirements = path.read_text(encoding="utf-8")
    return venvs.install(machine, requirements, notice=notice, offline_wheels=offline_wheels)


def _installed(machine: Machine, python: str, package: str) -> tuple[str, str]:
    """The folder of `package` there, and its version."""
    script = _WHERE.format(package=package)
    ended = machine.run(f"{shlex.quote(python)} -c {shlex.quote(script)}", _ASK_LIMIT)
    lines = ended.output.decode("utf-8", errors="replace").splitlines()
    if ended.code != 0 or len(lines) != 2 or not all(line.isprintable() for line in lines):
        own = isinstance(machine, LocalMachine)
        raise DeviceFault(
            f"{machine.name}: {python} has no {package}",
            hint=f"install it: {python} -m pip install {package}"
            if own
            else f"remove that environment there, then try again: rm -rf {Path(python).parents[1]}",
        )
    return lines[0], lines[1]
