"""LiteRT with a stopwatch, in a child process: one model, loaded once, timed in blocks."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgeq.environment import busy_seconds, read_state
from edgeq.errors import MeasurementError
from edgeq.workers.litert import load

Arrays = tuple[NDArray[Any], ...]


class Timing:
    """The .tflite model `tflite` in LiteRT's default kernels (XNNPACK where it can)."""

    def __init__(self, tflite: bytes, threads: int) -> None:
        self._version = importlib.metadata.version("ai-edge-litert")
        _forget_peak()
        self._rss_before = _status("VmRSS")
        start = time.perf_counter_ns()
        self._interpreter, self._outputs = load(model_content=tflite, num_threads=threads)
        self._init = time.perf_counter_ns() - start
        self._first: int | None = None
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]

    def describe(self) -> dict[str, Any]:
        """What to say once it has run.

        `init` is ns from bytes to allocated tensors, `first` ns of the very first inference,
        `delegated` (operators, how many of them run in XNNPACK) or None, and `peak_rss_delta`
        the bytes by which the process grew at most since just before it loaded the model, whose
        file was in memory by then and is not part of it; or None.
        """
        peak, rss = _status("VmHWM"), self._rss_before
        return {
            "init": self._init,
            "first": self._first,
            "engine_version": self._version,
            "delegated": _delegated(self._interpreter),
            "peak_rss_delta": None if peak is None or rss is None else max(0, peak - rss),
        }

    def run(self, inputs: Sequence[Arrays]) -> list[Arrays]:
        """The outputs for each sample; variables are reset before every one."""
        results = []
        for sample in inputs:
            self._interpreter.reset_all_variables()
            self._set(sample)
            self._invoke()
            results.append(self._outputs.read())
        return results

    def measure(
        self,
        inputs: Sequence[Arrays],
        warmup_runs: int,
        warmup_min_secs: float,
        num_runs: int,
        min_secs: float,
        max_secs: float,
        max_runs: int,
    ) -> dict[str, Any]:
        """Time invoke() alone, on each of `inputs` in turn, until there are `num_runs` and
        `min_secs` have passed, but no longer than `max_secs` or `max_runs`; before that the same
        for the warm-up. No inference is cut short, so the last may end after `max_secs`.

        Gives `samples` and `warmup` (ns each), the `State` `before` and `after`, and the seconds
        that passed (`wall_secs`), that this process computed (`cpu_secs`) and that all of the
        machine did (`busy_secs`, or None).
        """
        self._set(inputs[0])
        with _no_collection():
            warmup: list[int] = []
            if warmup_runs or warmup_min_secs:
                warmup = self._timed(inputs, warmup_runs, warmup_min_secs, max_secs, max_runs)
            before = read_state()
            self._invoke()  # Reading the state took the network out of the caches.
            busy, cpu, wall = busy_seconds(), time.process_time(), time.perf_counter()
            samples = self._timed(inputs, num_runs, min_secs, max_secs, max_runs)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            busy_after, after = busy_seconds(), read_state()
        self._outputs.check(exact=False)
        return {
            "warmup": warmup,
            "samples": samples,
            "before": before,
            "after": after,
            "wall_secs": wall,
            "cpu_secs": cpu,
            "busy_secs": None if busy is None or busy_after is None else busy_after - busy,
        }

    def _timed(
        self, inputs: Sequence[Arrays], runs: int, min_secs: float, max_secs: float, max_runs: int
    ) -> list[int]:
        clock = time.perf_counter_ns
        least, most = int(min_secs * 1e9), int(max_secs * 1e9)
        samples: list[int] = []
        begin = clock()
        while True:
            self._set(inputs[len(samples) % len(inputs)])
            samples.append(self._invoke())
            passed = clock() - begin
            if passed >= most or len(samples) >= max_runs:
                return samples
            if len(samples) >= runs and passed >= least:
                return samples

    def _invoke(self) -> int:
        """One inference, in ns."""
        try:
            start = time.perf_counter_ns()
            self._interpreter.invoke()
            taken = time.perf_counter_ns() - start
        except RuntimeError as e:
            raise MeasurementError(
                f"LiteRT {self._version} cannot run the model: {e}",
                hint="are the inputs what the model expects, such as indices within its tables?",
            ) from e
        if self._first is None:
            self._first = taken
        return taken

    def _set(self, sample: Arrays) -> None:
        for index, value in zip(self._inputs, sample, strict=True):
            self._interpreter.set_tensor(index, value)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _delegated(interpreter: Interpreter) -> tuple[int, int] | None:
    """Operators of the main graph, and those that a delegate replaced.

    LiteRT lists a delegate's node after the operators that it replaced, and leaves these in the
    list. They are what is found on the way from the node's outputs back to its inputs.
    """
    try:
        nodes = interpreter._get_ops_details()
    except AttributeError:  # Not public, so it may go.
        return None
    operators = [n for n in nodes if n["op_name"] != "DELEGATE"]
    makers = {int(tensor): node for node in operators for tensor in node["outputs"]}
    replaced: set[int] = set()
    for delegate in (n for n in nodes if n["op_name"] == "DELEGATE"):
        given = {int(tensor) for tensor in delegate["inputs"]}
        wanted = [int(tensor) for tensor in delegate["outputs"]]
        while wanted:
            tensor = wanted.pop()
            maker = makers.get(tensor)
            if tensor in given or maker is None or maker["index"] in replaced:
                continue
            replaced.add(maker["index"])
            wanted += [int(i) for i in maker["inputs"]]
    return len(operators), len(replaced)


def _forget_peak() -> None:
    """Let VmHWM start anew from VmRSS (proc_pid_clear_refs(5)); else it only can be too large."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(key: str) -> int | None:
    """A size in /proc/self/status, in bytes.

    Not getrusage's ru_maxrss, which remembers the parent's size from before exec.
    """
    with contextlib.suppress(OSError):
        found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
        return int(found[1]) * 1024 if found else None
    return None
