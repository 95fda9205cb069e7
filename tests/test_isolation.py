import os
import subprocess
import sys
import time

import pytest
from processes import assert_gone

from edgeq.errors import DataError, EdgeqError, WorkerCrash, WorkerError, WorkerTimeout
from edgeq.isolation import Worker


class Patient:
    """What the tests put into a child process."""

    def __init__(self, word: str = "") -> None:
        self.word = word

    def say(self, more: str) -> str:
        print("noise on stdout must not spoil the answers")
        return self.word + more

    def complain(self) -> None:
        raise DataError("bad data", hint="mend it")

    def stumble(self) -> None:
        raise ZeroDivisionError("by zero")

    def die(self, number: int = 11) -> None:
        os.write(2, b"last words")
        os.kill(os.getpid(), number)

    def sleep(self) -> None:
        time.sleep(60)

    def read(self) -> str:
        return sys.stdin.read()

    def breed(self) -> int:
        return subprocess.Popen(["sleep", "60"]).pid

    def pid(self) -> int:
        return os.getpid()

    def size(self, data: bytes) -> int:
        return len(data)


HERE = {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *__import__("sys").path])}


@pytest.fixture
def patient():
    with Worker("test_isolation:Patient", "he", environment=HERE) as worker:
        yield worker


def test_a_call_gives_the_method_s_value(patient):
    assert patient.call("say", "llo", time_limit=20) == "hello"


def test_large_arguments_pass_whole(patient):
    assert patient.call("size", bytes(50_000_000), time_limit=60) == 50_000_000


def test_an_edgeq_error_arrives_as_it_was_raised(patient):
    with pytest.raises(DataError, match="bad data") as caught:
        patient.call("complain", time_limit=20)
    assert caught.value.hint == "mend it"
    assert patient.call("say", "y", time_limit=20) == "hey"


def test_any_other_exception_becomes_a_worker_error(patient):
    with pytest.raises(WorkerError, match="ZeroDivisionError: by zero"):
        patient.call("stumble", time_limit=20)


def test_a_crash_says_how_it_ended_and_what_was_printed(patient):
    with pytest.raises(WorkerCrash, match="SIGSEGV") as caught:
        patient.call("die", time_limit=20)
    assert "last words" in caught.value.hint


def test_a_process_that_is_killed_says_what_that_mostly_is(patient):
    with pytest.raises(WorkerCrash, match="SIGKILL, as when memory runs out"):
        patient.call("die", 9, time_limit=20)


def test_after_a_crash_the_next_call_starts_a_fresh_process(patient):
    before = patient.call("pid", time_limit=20)
    with pytest.raises(WorkerCrash):
        patient.call("die", time_limit=20)
    assert patient.call("pid", time_limit=20) != before


def test_a_late_answer_is_a_timeout_and_ends_the_process(patient):
    pid = patient.call("pid", time_limit=20)
    start = time.monotonic()
    with pytest.raises(WorkerTimeout, match=r"within 0.5 s"):
        patient.call("sleep", time_limit=0.5)
    assert time.monotonic() - start < 10
    assert_gone(pid)


def test_a_class_that_is_not_there_is_an_error():
    with Worker("edgeq.errors:NoSuchClass") as worker, pytest.raises(EdgeqError):
        worker.call("anything", time_limit=20)


def test_leaving_the_with_statement_ends_the_process():
    with Worker("test_isolation:Patient", environment=HERE) as worker:
        pid = worker.call("pid", time_limit=20)
    assert_gone(pid)


def test_what_a_child_started_ends_with_it():
    with Worker("test_isolation:Patient", environment=HERE) as worker:
        pid = worker.call("breed", time_limit=20)
    assert_gone(pid)


def test_a_child_that_reads_stdin_does_not_eat_its_own_calls(patient):
    assert patient.call("read", time_limit=20) == ""
    assert patient.call("say", "y", time_limit=20) == "hey"


def test_a_child_that_is_not_quiet_prints_to_stderr(capfd):
    with Worker("test_isolation:Patient", environment=HERE, quiet=False) as worker:
        worker.call("say", "x", time_limit=20)
    out, err = capfd.readouterr()
    assert out == "" and "noise on stdout" in err


def test_a_child_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    with Worker("test_isolation:Patient", "he", environment=HERE) as worker:
        assert worker.call("say", "llo", time_limit=20) == "hello"
