"""The interpreter on a Pi, installed at first use: real venv and pip in Debian roots for Arm."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from pi.stand_in import Pi

from edgeq import venvs
from edgeq.codegen.python_runner import requirements
from edgeq.errors import BundleError, DeviceFault, EdgeqError, MissingProgram, NoReply
from edgeq.transports.ssh import SshMachine

pytestmark = pytest.mark.devices


@pytest.fixture
def pi(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pi]:
    architecture, disk = getattr(request, "param", ("arm64", None))
    with Pi(architecture, tmp_path / "pi", disk) as pi:
        pi.client(monkeypatch)
        monkeypatch.setattr(
            platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name)
        )
        yield pi


@pytest.fixture
def machine(pi: Pi) -> Iterator[SshMachine]:
    machine = SshMachine(pi.address)
    machine.open()
    yield machine
    machine.close()


LITERT = requirements("litert", ["3.11"], "2.3.0")
SMALL = "typing-extensions\n"


def here(tflite: bytes) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    reference = OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=tflite, experimental_op_resolver_type=reference)
    interpreter.allocate_tensors()
    ramp = np.arange(64, dtype=np.int8).reshape(1, 8, 8, 1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], ramp)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


THERE = """
import sys, numpy as np
try:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError:
    from tflite_runtime.interpreter import Interpreter, OpResolverType
i = Interpreter(model_path="m.tflite", experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
i.allocate_tensors()
i.set_tensor(i.get_input_details()[0]["index"], np.arange(64, dtype=np.int8).reshape(1, 8, 8, 1))
i.invoke()
print(i.get_tensor(i.get_output_details()[0]["index"]).tolist())
"""


@pytest.mark.parametrize(
    ("pi", "interpreter"),
    [(("arm64", None), "litert"), (("armhf", None), "tflite-runtime")],
    indirect=["pi"],
)
def test_the_interpreter_is_installed_once_and_computes_as_here(
    pi: Pi, machine: SshMachine, interpreter: str, tiny_model: Path
) -> None:
    said: list[str] = []
    text = requirements(interpreter, ["3.11"], "2.3.0")
    python = venvs.install(machine, text, notice=said.append)
    assert len(said) == 1 and "first use: installing" in said[0]
    again = venvs.install(machine, text, notice=said.append)
    assert (again, len(said)) == (python, 1)
    folder = f"{machine.folder}/canary"
    machine.push({"m.tflite": tiny_model.read_bytes(), "t.py": THERE.encode()}, folder)
    ended = machine.run(f"cd {shlex.quote(folder)} && {shlex.quote(python)} t.py", 120)
    assert ended.output.decode().strip() == str(here(tiny_model.read_bytes()).tolist()), ended
    left = {p.name for p in (pi.files / machine.folder.lstrip("/")).iterdir()}
    assert left == {"canary", Path(python).parts[-3]}


def test_wheels_of_this_computer_for_a_pi_without_internet(
    pi: Pi, machine: SshMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_index(pi)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(pi.wheels))
    python = venvs.install(machine, SMALL, notice=lambda line: None, offline_wheels=True)
    script = f"{shlex.quote(python)} -c 'import typing_extensions as t; print(t.__file__)'"
    assert machine.run(script, 60).output.startswith(machine.folder.encode())
    cached = [p.name for p in Path(platformdirs.user_cache_dir("edgeq")).rglob("*.whl")]
    assert len(cached) == 1 and cached[0].startswith("typing_extensions")
    monkeypatch.setenv("PIP_FIND_LINKS", "/none")
    with pytest.raises(EdgeqError, match="this computer: there is no numpy"):
        venvs.download_wheels(["numpy"], venvs.ask_python(machine))


def no_index(pi: Pi) -> None:
    (pi.files / "etc/pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/simple\n")


def no_venv(pi: Pi) -> None:
    shutil.rmtree(pi.files / "usr/lib/python3.11/venv")


def no_pip(pi: Pi) -> None:
    """As Debian is without python3-venv: the module is there, and has no pip to put in."""
    shutil.rmtree(pi.files / "usr/lib/python3.11/ensurepip")


def no_python(pi: Pi) -> None:
    (pi.files / "usr/bin/python3").unlink()


def nothing(pi: Pi) -> None:
    pass


FAULTS: dict[str, tuple[Callable[[Pi], None], str, str, str, str | None]] = {
    "no network": (no_index, SMALL, "reaches no package index", "--offline-wheels", None),
    "no venv": (no_venv, SMALL, "has no venv and pip", "apt install python3-venv", None),
    "no pip": (no_pip, SMALL, "has no venv and pip", "apt install python3-venv", None),
    "no python": (no_python, SMALL, "has no python3", "--engine aot", None),
    "no wheel": (nothing, "numpy==1.0\n", "there is no numpy==1.0 for", "requirements.txt", None),
    "no space": (nothing, SMALL, "no space left", "df -h", "6m"),
}


@pytest.mark.parametrize(
    ("pi", "fault"), [(("arm64", row[4]), name) for name, row in FAULTS.items()], indirect=["pi"]
)
def test_what_is_missing_on_the_machine_is_said(pi: Pi, machine: SshMachine, fault: str) -> None:
    broken, text, message, hint, _ = FAULTS[fault]
    broken(pi)
    with pytest.raises(DeviceFault, match=message) as e:
        venvs.install(machine, text, notice=lambda line: None)
    print(f"{fault}: {e.value}\n  {e.value.hint}")
    assert e.value.hint and hint in e.value.hint
    with contextlib.suppress(FileNotFoundError):
        assert not list((pi.files / machine.folder.lstrip("/")).iterdir())


def test_a_late_install_leaves_nothing(
    pi: Pi, machine: SshMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venvs, "INSTALL_LIMIT", 2.0)
    with pytest.raises(NoReply):
        venvs.install(machine, SMALL, notice=lambda line: None)
    assert not list((pi.files / machine.folder.lstrip("/")).iterdir())
    assert not pi.processes("-m venv")


def test_no_pip_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = tmp_path / "python"
    without.write_text('#!/bin/sh\necho "$0: No module named pip"; exit 1\n')
    without.chmod(0o755)
    monkeypatch.setattr(venvs.sys, "executable", str(without))
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    with pytest.raises(MissingProgram, match="pip is not installed here"):
        venvs.download_wheels(["numpy"], venvs.Python("3.11.2", "aarch64", 36))
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    "line",
    ["--index-url http://evil", "-e .", "numpy @ http://evil/x.whl", "../x.whl", "a;b", "-rother"],
)
def test_a_bundle_cannot_have_anything_else_installed(line: str) -> None:
    with pytest.raises(BundleError, match="not a package"):
        venvs._lines(f"numpy>=1.26\n{line}\n")


def test_requirements_of_bundles_are_packages() -> None:
    assert venvs._lines(LITERT) == ["ai-edge-litert==2.3.0", "numpy>=1.26"]
