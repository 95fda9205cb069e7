"""benchmark_model on a phone, a Pi or this computer: outputs first, then its numbers.

The classic flavour is given each golden input as a file and writes its outputs to one, so that
Google's own program is held to the same outputs as ours. LiteRT's knows no such flags.
"""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeq.benchmark_model.binary import Abilities, Binary, abilities_of
from edgeq.benchmark_model.op_profile import OpTime, parse_profile, run_order
from edgeq.benchmark_model.result_file import ResultFile, parse_result_file
from edgeq.benchmark_model.results import BenchmarkModelRun
from edgeq.benchmark_model.text import Footprint, Report, parse_report
from edgeq.bundle import Bundle
from edgeq.errors import DeviceFault, MeasurementError, UsageError
from edgeq.golden import Golden
from edgeq.machines import deploy, folder_of, pinned_cores, remove
from edgeq.measurement import Check
from edgeq.outputs import Arrays, compare_outputs, tolerances_of
from edgeq.probe import probe, read_state
from edgeq.transports.machine import Ended, Machine

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]

USAGE_LIMIT = 60.0
SAMPLE_LIMIT = 300.0
"""Seconds for one golden input, loading included."""

_FETCH_LIMIT = 60.0
_CHUNK = 36 * 1024
"""Bytes of a file that one answer brings: with base64 less than transports.machine.OUTPUT_LIMIT."""

_PROGRAM, _MODEL, _OUTPUT, _RESULT, _PROFILE = (
    "benchmark_model",
    "model.tflite",
    "output.bin",
    "result.pb",
    "profile.csv",
)
_MOST_RESULT = 1 << 16
_MOST_PROFILE = 1 << 22


@dataclass(frozen=True)
class BenchmarkModelOptions:
    """benchmark_model's own flags, under their names."""

    num_runs: int = 50
    warmup_runs: int = 1
    warmup_min_secs: float = 0.5
    min_secs: float = 1.0
    max_secs: float = 150.0
    num_threads: int = 1
    profile: bool = False


def run_benchmark_model(
    machine: Machine,
    bundle: Bundle,
    binary: Binary,
    options: BenchmarkModelOptions,
    *,
    device: str | None = None,
    cores: str | None = None,
    keep: bool = False,
    notice: Notice | None = None,
    progress: Progress | None = None,
) -> BenchmarkModelRun:
    """Time the bundle's model on `machine`, which a person calls `device`.

    `cores` and `keep` are as for edgeq.machines.MachinePlace. Raises UsageError for a program that
    does not fit the machine, DeviceError, and MeasurementError when it fails, ignores a flag, or
    gives other outputs than the bundle allows. Files and processes are gone afterwards.
    """
    golden = bundle.golden()
    try:
        machine.open()
        facts = probe(machine)
        binary.require_fit(facts)
        pinned = pinned_cores(cores, facts, machine) if cores else None
        files = {_PROGRAM: binary.content, _MODEL: bundle.tflite, **_input_files(golden)}
        folder = folder_of(machine, files)
        try:
            deploy(machine, files, folder, progress)
            mask = f"taskset {pinned.mask:x} " if pinned else ""
            there = Deployed(machine, folder, mask)
            if notice:
                notice(f"{binary.path} on {machine.name}: SHA-256 {binary.sha256}")
            usage = there.run(["--help"], USAGE_LIMIT)
            if usage.code in (126, 127):
                parse_report(usage.output, usage.errors, usage.code, there.where)
            can = abilities_of(binary, usage.output + b"\n" + usage.errors)
            notes = []
            if can.flavour == "classic" and {_FILES, _OUTPUTS} <= can.flags:
                checks = _check_outputs(there, bundle, golden, options.num_threads, progress)
                inputs = _input_flags(golden, 0)
            else:
                checks, inputs = Check(0, 0), []
                notes.append(f"its outputs were not checked: {_why_not(can)}")
            if options.profile and (can.flavour == "litert" or _PROFILING not in can.flags):
                raise UsageError(
                    f"{binary.path}: this build has no profile of operators in a file",
                    hint="leave out --profile, or use a build of TensorFlow Lite's benchmark_model",
                )
            before = read_state(machine)
            if progress:
                progress("measuring", 0, 1)
            report, result = _measure(there, options, can, inputs)
            after = read_state(machine)
            operators: tuple[OpTime, ...] = ()
            if options.profile:
                operators = _profile(there, options, can, inputs)
        finally:
            if not keep:
                remove(machine, folder)
    finally:
        machine.close()
    if facts.emulator:
        notes.append(f"{facts.emulator} stood for the processor: these are no device's times")
    return BenchmarkModelRun(
        model=bundle.name,
        model_sha256=str(bundle.manifest["model"]["sha256"]),
        scheme=str(bundle.manifest["scheme"]),
        device=device or machine.name,
        flavour=can.flavour,
        binary_sha256=binary.sha256,
        warmup=report.warmup,
        summary=report.runs,
        init_us=report.init_us,
        first_us=_first_us(report),
        checks=checks,
        footprint=_footprint(report, result),
        delegates=report.delegates,
        operators=operators,
        environment=replace(
            facts.environment,
            threads=options.num_threads,
            pinned=pinned.text if pinned else None,
            before=before,
            after=after,
        ),
        notes=(*notes, *report.notes),
    )


_FILES, _OUTPUTS = "input_layer_value_files", "output_filepath"
_PROFILING = "enable_op_profiling"


def _why_not(can: Abilities) -> str:
    if can.flavour == "litert":
        return "LiteRT's build takes no inputs from files"
    return f"this build does not know --{_OUTPUTS if _FILES in can.flags else _FILES}"


@dataclass(frozen=True)
class Deployed:
    """benchmark_model in its `folder` on `machine`; `mask` goes before it (taskset or nothing)."""

    machine: Machine
    folder: str
    mask: str

    @property
    def where(self) -> str:
        return f"{self.machine.name}: {_PROGRAM}"

    def run(self, flags: Sequence[str], time_limit: float) -> Ended:
        """Run it with `flags`; files of runs before are gone."""
        script = (
            f"cd {shlex.quote(self.folder)} || exit 126\n"
            f"rm -f {_OUTPUT} {_RESULT} {_PROFILE}\n"
            f"exec {self.mask}./{_PROGRAM} {shlex.join(flags)}"
        )
        return self.machine.run(script, time_limit)

    def report(self, flags: Sequence[str], time_limit: float) -> Report:
        """The same, and what it printed. Raises MeasurementError."""
        ended = self.run(flags, time_limit)
        return parse_report(ended.output, ended.errors, ended.code, self.where)

    def fetch(self, name: str, most: int) -> bytes | None:
        """The bytes of a file there; None when there is none, or when it has more than `most`."""
        path = shlex.quote(f"{self.folder}/{name}")
        content = b""
        while True:
            script = (
                f"wc -c < {path} && tail -c +{len(content) + 1} {path} | head -c {_CHUNK} | base64"
            )
            ended = self.machine.run(script, _FETCH_LIMIT)
            size, _, encoded = ended.output.strip().partition(b"\n")
            size = size.strip()
            if ended.code or not size.isdigit() or len(size) > 12 or int(size) > most:
                return None
            try:
                chunk = base64.b64decode(b"".join(encoded.split()), validate=True)
            except binascii.Error:
                chunk = b""
            content += chunk
            if len(content) == int(size):
                return content
            if len(chunk) != _CHUNK or len(content) > int(size):
                raise DeviceFault(
                    f"{self.machine.name}: {name} of {_PROGRAM} did not arrive whole",
                    hint="are tail, head and base64 there, and is its storage in order?",
                )


def _input_files(golden: Golden) -> dict[str, bytes]:
    return {
        _input_file(sample, position): np.ascontiguousarray(value).tobytes()
        for sample, values in enumerate(golden.inputs)
        for position, value in enumerate(values)
    }


def _input_file(sample: int, position: int) -> str:
    return f"input_{sample}_{position}.bin"


def _input_flags(golden: Golden, sample: int) -> list[str]:
    """The flags that feed one golden sample. Inputs are told by their order: names are ours, since
    the model's may have a colon, which builds of old cannot escape."""
    if not golden.inputs:
        return []
    values = golden.inputs[sample]
    names = [f"input_{position}" for position in range(len(values))]
    shapes = [",".join(map(str, value.shape)) for value in values]
    files = [f"{name}:{_input_file(sample, i)}" for i, name in enumerate(names)]
    return [
        f"--input_layer={','.join(names)}",
        f"--input_layer_shape={':'.join(shapes)}",
        f"--input_layer_value_files={','.join(files)}",
    ]


def _check_outputs(
    there: Deployed, bundle: Bundle, golden: Golden, threads: int, progress: Progress | None
) -> Check:
    """All golden inputs through the tool. Raises MeasurementError for an output that is wrong."""
    limits = tolerances_of(golden)
    names = [str(output["name"]) for output in bundle.manifest["outputs"]]
    equal, worst = 0, 0.0
    for sample, wanted in enumerate(golden.outputs):
        if progress:
            progress("checking outputs", sample, len(golden.outputs))
        once = {"num_runs": 1, "warmup_runs": 0, "warmup_min_secs": 0, "min_secs": 0}
        there.report(
            [
                f"--graph={_MODEL}",
                *_flags({**once, "num_threads": threads}),
                *_input_flags(golden, sample),
                f"--{_OUTPUTS}={_OUTPUT}",
            ],
            SAMPLE_LIMIT,
        )
        size = sum(value.nbytes for value in wanted)
        got = there.fetch(_OUTPUT, max(size, _CHUNK))
        if got is None or len(got) != size:
            found = "no outputs" if got is None else f"outputs of {len(got)} bytes"
            raise MeasurementError(
                f"{there.where}: golden sample {sample} gave {found}, {size} bytes expected",
                hint="is this the build's --output_filepath? Run it by hand on the device",
            )
        distance = compare_outputs(wanted, _arrays(got, wanted), names, limits)
        if distance.beyond:
            raise MeasurementError(
                f"{there.where}: golden sample {sample} is wrong: {distance.beyond}",
                hint="nothing was timed. Outputs are held to those of "
                f"{golden.reference}; try another build, or its flags by hand on the device",
            )
        equal += distance.worst == 0
        worst = max(worst, distance.worst)
    return Check(len(golden.outputs), equal, worst, limits, golden.reference)


def _arrays(data: bytes, like: Arrays) -> Arrays:
    """Outputs one behind the other, as the tool writes them."""
    arrays, at = [], 0
    for value in like:
        part = data[at : at + value.nbytes]
        arrays.append(np.frombuffer(part, value.dtype).reshape(value.shape))
        at += value.nbytes
    return tuple(arrays)


def _measure(
    there: Deployed, options: BenchmarkModelOptions, can: Abilities, inputs: Sequence[str]
) -> tuple[Report, ResultFile | None]:
    flags = [f"--graph={_MODEL}", *_flags(_timing(options)), *inputs]
    has_file = "result_file_path" in can.flags
    if has_file:
        flags.append(f"--result_file_path={_RESULT}")
    report = there.report(flags, _time_limit(options))
    content = there.fetch(_RESULT, _MOST_RESULT) if has_file else None
    result = parse_result_file(content) if content else None
    if result and result.runs not in (None, report.runs.count):
        raise MeasurementError(
            f"{there.where}: printed {report.runs.count} runs, and wrote {result.runs} to its file",
            hint="is it Google's benchmark_model, unchanged?",
        )
    return report, result


def _profile(
    there: Deployed, options: BenchmarkModelOptions, can: Abilities, inputs: Sequence[str]
) -> tuple[OpTime, ...]:
    flags = [f"--graph={_MODEL}", *_flags(_timing(options)), *inputs, f"--{_PROFILING}=true"]
    if "op_profiling_output_file" in can.flags:
        flags += ["--op_profiling_output_mode=csv", f"--op_profiling_output_file={_PROFILE}"]
    else:
        flags += [f"--profiling_output_csv_file={_PROFILE}"]
    there.report(flags, _time_limit(options))
    content = there.fetch(_PROFILE, _MOST_PROFILE)
    if content is None:
        raise MeasurementError(
            f"{there.where}: wrote no profile, or one over {_MOST_PROFILE} bytes",
            hint="leave out --profile, or use another build",
        )
    return run_order(parse_profile(content))


def _timing(options: BenchmarkModelOptions) -> dict[str, float]:
    return {name: value for name, value in vars(options).items() if name != "profile"}


def _flags(values: Mapping[str, float]) -> list[str]:
    return [f"--{name}={value:.12g}" for name, value in values.items()]


def _time_limit(options: BenchmarkModelOptions) -> float:
    """Warm-up and measurement may take max_secs each, and one inference more."""
    return 2 * options.max_secs + SAMPLE_LIMIT


def _first_us(report: Report) -> float | None:
    if report.timings.first_us is not None:
        return report.timings.first_us
    return report.runs.first_us if report.warmup.count == 0 else report.warmup.first_us


def _footprint(report: Report, result: ResultFile | None) -> Footprint:
    said = report.footprint
    if result is None or said.overall_mb is not None:
        return said
    sizes = (result.init_footprint_kb, result.overall_footprint_kb)
    init, overall = (None if kb is None or kb < 0 else kb / 1024 for kb in sizes)
    return replace(said, init_mb=init, overall_mb=overall)
