"""LiteRT behind the protocol, in C and in Python: the same session, the same bytes."""

from __future__ import annotations

import ast
import random
import shlex
import shutil
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from every_operator import Network, networks
from harness_link import process
from litert_link import (
    CACHE,
    HOST,
    KERNELS,
    KINDS,
    argv_of,
    expected_of,
    library,
    runner_of,
    started,
)
from make_model import Maker, pack, tiny_float, tiny_int8

from edgeq.boards import bench_board
from edgeq.building import build
from edgeq.bundle import open_bundle
from edgeq.errors import DeviceError, DeviceLost, StaleFirmware, UsageError
from edgeq.litert_files import (
    PACKAGE,
    UNVERIFIED,
    Job,
    build_runner,
    c_refuses,
    fetch_library,
    glibc_files,
    on_android,
)
from edgeq.litert_runner import litert_runner
from edgeq.machines import MachinePlace
from edgeq.probe import probe
from edgeq.tflite import read_graph
from edgeq.transports.local import LocalMachine
from edgeq.workers.timing import Timing


def crossed() -> bytes:
    """Two inputs and two outputs of several types, which the signature lists the other way round.

    int8 a (1, 4) -> RELU -> p; int16 b (1, 2, 3) -> RELU -> q.
    """
    m = Maker()
    a, p = (m.tensor(n, (1, 4), np.int8, 0.1) for n in "ap")
    b, q = (m.tensor(n, (1, 2, 3), np.int16, 0.01) for n in "bq")
    m.op("RELU", [a], [p])
    m.op("RELU", [b], [q])
    model = m.model([a, b], [p, q])
    model.signatureDefs[0].inputs.reverse()
    model.signatureDefs[0].outputs.reverse()
    return pack(model)


def keeping() -> bytes:
    """SVDF, int8: what it keeps changes with every inference."""
    n = Network()
    x = n.input((2, 6), np.int8, 0.02, 3)
    features, times = n.weights((8, 6), 0.01), n.weights((8, 5), 0.003, dtype=np.int16)
    bias = n.tensor((4,), np.int32, 1e-6, data=n.random.integers(-9000, 9000, 4))
    inputs = [x, features, times, bias, n.state((2, 40), np.int16, 0.0005)]
    relu = schema.ActivationFunctionType.RELU
    made = [((2, 4), np.int8, 0.05, -5)]
    n.op("SVDF", inputs, made, "SVDF", 3, rank=2, fusedActivationFunction=relu)
    return n.bytes()


def adding() -> bytes:
    """float32 (1, 4): the sum of all inputs so far, in a resource that CALL_ONCE makes 0."""
    m = Maker()
    first, handle = m.callee(), schema.VarHandleOptionsT()
    handle.container, handle.sharedName = b"", b"sum"
    place = first.tensor("place", (), "resource")
    zero = first.tensor("zero", (1, 4), data=np.zeros((1, 4)))
    first.op("VAR_HANDLE", [], [place], handle)
    first.op("ASSIGN_VARIABLE", [place, zero], [], schema.AssignVariableOptionsT())
    m.callees.append((first, [], []))
    once = schema.CallOnceOptionsT()
    once.initSubgraphIndex = 1
    x, old, new = (m.tensor(n, (1, 4)) for n in ("x", "old", "new"))
    there = m.tensor("there", (), "resource")
    m.op("CALL_ONCE", [], [], once)
    m.op("VAR_HANDLE", [], [there], handle)
    m.op("READ_VARIABLE", [there], [old], schema.ReadVariableOptionsT())
    m.op("ADD", [x, old], [new], schema.AddOptionsT())
    m.op("ASSIGN_VARIABLE", [there, new], [], schema.AssignVariableOptionsT())
    return m.bytes([x], [new])


def int16() -> bytes:
    """int16 (1, 6) -> dense 4 ReLU."""
    noise = np.random.default_rng(3)
    m = Maker()
    x, y = m.tensor("x", (1, 6), np.int16, 0.001), m.tensor("y", (1, 4), np.int16, 0.01)
    w = m.tensor("w", (4, 6), np.int8, 0.02, data=noise.integers(-127, 128, (4, 6)))
    b = m.tensor("b", (4,), np.int64, 0.001 * 0.02, data=noise.integers(-9000, 9000, 4))
    m.op("FULLY_CONNECTED", [x, w, b], [y], schema.FullyConnectedOptionsT(), 4)
    return m.bytes([x], [y])


MODELS = {
    "int8": tiny_int8,
    "float32": tiny_float,
    "unnamed": lambda: tiny_float(named=False),
    "crossed": crossed,
    "int16": int16,
    "keeping": keeping,
    "adding": adding,
    **{name: (lambda name=name: networks()[name]) for name in ("image_int8", "moves")},
}


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_as_the_interpreter(kind, model, kernels):
    if (kind, model) == ("c", "keeping"):
        pytest.skip("LiteRT's C API takes no variable tensors")
    tflite = MODELS[model]()
    expected = expected_of(tflite, kernels, samples=1 if model == "adding" else 4)
    with started(runner_of(kind, tflite, kernels=kernels)) as session:
        session.open()
        check = session.check(expected)
    assert check.equal == check.count > 0


@pytest.mark.parametrize("kind", KINDS)
def test_measured_and_profiled(kind):
    tflite = tiny_int8()
    expected = expected_of(tflite)
    with started(runner_of(kind, tflite, threads=2)) as session:
        session.open()
        measurement = session.measure(expected, runs=30, warmup=3)
        profile = session.profile(expected, runs=3)
        memory = session.memory()
    assert (measurement.engine, measurement.unit, len(measurement.samples)) == ("litert", "ns", 30)
    assert measurement.tick_hz == 1e9 and min(measurement.samples) > 100
    assert [(layer.op, layer.name) for layer in profile.layers] == [
        ("NETWORK", "the whole network")
    ]
    assert memory.arena is None and memory.ram_used and memory.ram_used > 1 << 20


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_xnnpack_tells_its_share(kind, kernels):
    tflite = tiny_int8()
    operators, delegated = Timing(tflite, 1).describe()["delegated"]
    assert 0 < delegated <= operators == 4
    with started(runner_of(kind, tflite, kernels=kernels, threads=2)) as session:
        facts = session.open().facts
        measurement = session.measure(expected_of(tflite, kernels), runs=3)
    wanted = delegated if kernels == "xnnpack" else 0
    found = measurement.delegated
    assert found is not None and (found.operators, found.delegated) == (operators, wanted)
    assert (facts["kernels"], facts["threads"]) == (kernels, "2")


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_in_the_order_of_the_file(kind, tmp_path):
    with process(argv_of(kind, crossed(), tmp_path)) as link:
        link.lines(60)
        answer = link.eq("model", 60)
    assert answer.all("input") == ["0,int8,4,1x4,3dcccccd,0,a", "1,int16,12,1x2x3,3c23d70a,0,b"]
    assert answer.all("output") == ["0,int8,4,1x4,3dcccccd,0,p", "1,int16,12,1x2x3,3c23d70a,0,q"]


@pytest.mark.parametrize(
    "kind, model", [("python", "keeping"), ("python", "adding"), ("c", "adding")]
)
def test_state_goes_on_until_it_is_reset(kind, model, tmp_path):
    tflite = MODELS[model]()
    sample = expected_of(tflite, "builtin").golden.inputs[0]
    with process(argv_of(kind, tflite, tmp_path)) as link:
        link.lines(60)
        for index, value in enumerate(sample):
            assert link.load(value.tobytes(), index).error is None
        assert link.eq("reset").one("reset") == "1"
        once = link.eq("run 1").one("same")
        assert link.eq("run 1").one("same") != once
        assert link.eq("reset").one("reset") == "1"
        assert link.eq("run 1").one("same") == once


def test_what_litert_cannot_load_from_c_is_told():
    assert c_refuses(read_graph(tiny_int8())) is None
    assert c_refuses(read_graph(adding())) is None
    assert "variable" in (c_refuses(read_graph(keeping())) or "")
    with started(runner_of("c", keeping())) as session:
        with pytest.raises(DeviceLost, match="Variable tensors not yet supported"):
            session.open()


@pytest.mark.parametrize("kind", KINDS)
def test_another_model_is_stale(kind):
    expected = replace(expected_of(tiny_int8()), sha256="0" * 64)
    with started(runner_of(kind, tiny_int8())) as session:
        session.open()
        with pytest.raises(StaleFirmware, match="runs another firmware"):
            session.check(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [b"", b"nonsense", tiny_int8()[:-400]], ids=len)
def test_what_is_no_model_is_one_line(kind, model):
    with started(runner_of(kind, model)) as session:
        with pytest.raises(DeviceLost, match=r"ended with 1: .*model\.tflite"):
            session.open()


@pytest.mark.parametrize("what", ["missing", "other", "text"])
def test_a_wrong_library_is_one_line(what, tmp_path):
    (tmp_path / "text").write_text("no library")
    other = str(Path("/lib/x86_64-linux-gnu/libm.so.6"))
    path = {"missing": "/nowhere/libLiteRt.so", "other": other, "text": str(tmp_path / "text")}
    argv = argv_of("c", tiny_int8(), tmp_path)
    argv = [path[what] if a == str(library()) else a for a in argv]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 1 and done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"litert-runner: {path[what]}: ")
    if what == "other":
        assert "it has no LiteRtCreateEnvironment" in line


@pytest.mark.parametrize("options", [["--threads", "0"], ["--threads", "x"], ["--kernels", "no"]])
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_options_are_usage(kind, options, tmp_path):
    argv = [*argv_of(kind, tiny_int8(), tmp_path)[:4], *options]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 2 and b"usage" in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_that_sends_anything_interrupts_a_run(kind, tmp_path):
    with process(argv_of(kind, tiny_int8(), tmp_path)) as link:
        link.lines(60)
        link.send(b"eq run 1000000%")
        link.send(b"name%")
        assert link.lines(60)[-2].startswith(b"m-eq-error-[-19,")
        assert link.lines(60) == [b"m-name-dut-[edgeq]"]


# In the order in which a harness looks at a command.
REFUSED = {
    "nothing": -10,
    "run": -11,
    "run 1 2 3": -11,
    "run x": -12,
    "run 0": -13,
    "run 1 1000001": -13,
    "run 4294967296": -12,
    "prof 10001": -13,
    "out 0": -17,
    "out 0 0 0 0": -11,
    "load 0 0 0 0 0 0": -11,
    "load a 0 00 00000000": -12,
    "load 0 0 0 00000000": -14,
    "load 0 0 0g 00000000": -14,
    "load 0 0 00 0": -14,
    "load 0 0 00 00000000": -15,
    "load 1 0 00 d202ef8d": -13,
    "load 0 64 00 d202ef8d": -13,
    "info 1": -11,
    "info #1*00000000": -15,
    "info #x*00000000": -15,
    "info #": -15,
}


@pytest.mark.parametrize("kind", KINDS)
def test_refused_with_a_code(kind, tmp_path):
    with process(argv_of(kind, tiny_int8(), tmp_path)) as link:
        link.lines(60)
        assert {text: link.eq(text).error for text in REFUSED} == REFUSED
        assert link.command("x" * 5000) == [b"e-[Command too long]"]
        assert link.command("\x1b[31m;rm") == [b"e-[Unknown command: ?[31m;rm]"]
        assert link.command("") == []


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_is_answered_and_never_ends_it(kind, tmp_path):
    noise = random.Random(7)
    words = [b"eq", b"run", b"load", b"out", b"#", b"*", b"0", b"-1", b"\xff", b"prof", b"layers",
             b"reset", b"9" * 20, b"name", b"%", b" ", b"00", b"9" * 4000]  # fmt: skip
    with process(argv_of(kind, tiny_int8(), tmp_path)) as link:
        link.lines(60)
        for _ in range(300):
            parts = [noise.choice(words) for _ in range(noise.randrange(8))]
            command = b" ".join(parts) if noise.random() < 0.7 else noise.randbytes(40)
            command = command.replace(b"%", b"")
            for line in link.command(command, 60):
                assert line.isascii() and line.decode().isprintable() and len(line) < 4200
        assert link.command("name") == [b"m-name-dut-[edgeq]"]


@pytest.mark.parametrize("kind", KINDS)
def test_megabytes_without_an_end_take_no_memory(kind, tmp_path):
    with process(argv_of(kind, tiny_int8(), tmp_path)) as link:
        link.lines(60)
        before = int(link.eq("mem").one("ram").split(",")[0])
        link.send(b"x" * (20 << 20) + b"%")
        assert link.lines(60) == [b"e-[Command too long]"]
        assert int(link.eq("mem").one("ram").split(",")[0]) - before < 4 << 20


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_when_nobody_listens(kind, tmp_path):
    argv = argv_of(kind, tiny_int8(), tmp_path)
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        assert running.stdin and running.stdout
        running.stdout.read(1)
        running.stdout.close()
        running.stdin.write(b"eq info%" * 2)
        running.stdin.flush()
        assert running.wait(60) == 1


def test_python_older_than_ours_can_read_it():
    source = (Path(__file__).parents[2] / "runtime/runners/python/serve.py").read_text()
    ast.parse(source, feature_version=(3, 9))


def test_a_runner_that_ends_is_a_lost_device():
    with started(runner_of("python", tiny_int8()), "exec false") as session:
        with pytest.raises(DeviceError):
            session.open()


# --- As on a phone -----------------------------------------------------------------------------

CPUINFO = "".join(
    f"processor\t: {core}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
    for core in range(4)
)


@pytest.mark.slow
@pytest.mark.parametrize("kernels", KERNELS)
def test_with_a_pushed_loader_on_aarch64(kernels, tmp_path):
    """The way of a phone, by qemu-user: no library of the system is used. A cortex-a72, since
    QEMU 7.2 computes wrong numbers with its own choice; and its /proc/cpuinfo, since LiteRT's
    cpuinfo dies of an x86 one."""
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("qemu-aarch64-static is not installed")
    try:
        library, runner = fetch_library(cache=CACHE), build_runner("aarch64", cache=CACHE)
        glibc = glibc_files(runner, library.content)
    except UsageError as e:
        pytest.skip(str(e))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(CPUINFO)
    tflite = tiny_int8()
    made = on_android(Job(tflite, "net", "host", 2, kernels), runner, library, glibc)
    assert made.argv[0] == "./ld-linux-aarch64.so.1" and UNVERIFIED in made.notes
    emulator = ["qemu-aarch64-static", "-cpu", "cortex-a72", "-L", str(tmp_path)]
    with started(made, f"exec {shlex.join([*emulator, *made.argv])}") as session:
        session.open()
        measurement = session.measure(expected_of(tflite, "builtin"), runs=3)
        facts = session.info.facts
    assert (measurement.checks.equal, measurement.checks.count) == (4, 4)
    assert measurement.delegated is not None
    assert (measurement.delegated.delegated > 0) == (kernels == "xnnpack"), facts


# --- As a bundle -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_is_proved_and_measured(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "tiny.tflite").write_bytes(tiny_int8())
    bundle = build(tmp_path / "tiny.tflite", [HOST], output=tmp_path / "b", engine="litert")[0]

    def make_runner(machine, facts, bundle, target):
        return runner_of(kind, bundle.tflite, threads=2)

    place = MachinePlace(LocalMachine(), make_runner)
    m = bench_board(bundle.folder, place, runs=20).measurement

    assert (m.engine, m.checks.count, m.environment.threads) == ("litert", 8, 2)
    assert (m.environment.engine_version, m.environment.kernels) == (version(PACKAGE), "XNNPACK")
    assert m.delegated is not None and m.delegated.operators == 4
    assert {p.name for p in tmp_path.iterdir()} == {"tiny.tflite", "b"}, "files stay"


def test_python_serves_what_c_cannot_load_and_a_phone_does_not(tmp_path):
    (tmp_path / "svdf.tflite").write_bytes(keeping())
    bundle = build(tmp_path / "svdf.tflite", [HOST], output=tmp_path / "b", engine="litert")[0]
    options = dict(threads=1, offline_wheels=False, litert_lib=None)
    notices: list[str] = []

    def make_runner(machine, facts, bundle, target):
        return litert_runner(machine, facts, bundle, target, **options, notice=notices.append)

    place = MachinePlace(LocalMachine(), make_runner)
    m = bench_board(bundle.folder, place, runs=5).measurement
    assert m.checks.count > 0 and "variable tensors" in " ".join(notices)

    machine = LocalMachine()
    machine.open()
    phone = replace(probe(machine), is_android=True)
    with pytest.raises(UsageError, match="cannot be served on a phone") as error:
        make_runner(machine, phone, open_bundle(bundle.folder), HOST)
    assert "--engine aot" in str(error.value.hint)
    machine.close()
