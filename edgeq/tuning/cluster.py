"""Trials on a Dask cluster: each in a child process of one of its workers.

Dask itself gives the trials of a worker that dies to another one.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from importlib.util import find_spec
from typing import Any

from edgeq import __version__
from edgeq.errors import EdgeqError, MissingProgram, UsageError
from edgeq.extras import install_line
from edgeq.isolation import Worker
from edgeq.tuning.points import Candidate, Outcome
from edgeq.tuning.pools import ATTEMPTS
from edgeq.tuning.trials import PASSING, Subject, describe_computer

CONNECT_LIMIT = 15.0

LOST_LIMIT = 60.0
"""Seconds that a cluster may be without any worker."""

_TURN = 0.05
"""Seconds between looks at what is finished."""

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/:]+:\d{1,5}|(tcp|tls)://\[[0-9a-fA-F:]+\]:\d{1,5}")


def check_address(address: str) -> None:
    """Before any work: raise UsageError for no address, MissingProgram without Dask."""
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"--workers {address}: no address of a Dask scheduler",
            hint="as the scheduler prints it: --workers tcp://HOST:8786",
        )
    if find_spec("distributed") is None:
        raise MissingProgram(
            "Dask (the package distributed) is not installed; --workers needs it",
            hint=install_line("dask"),
        )


def remote_trial(subject: Subject, candidate: Candidate, seconds: float) -> Outcome:
    """A trial in a child process of a Dask worker, at most so long."""
    with Worker("edgeq.workers.tuning:Trials", subject) as worker:
        outcome: Outcome = worker.call("run", candidate, time_limit=seconds)
        return outcome


class DaskPool:
    """The workers of the scheduler at `address`, a trial for each thread that they offer.

    Raises UsageError when it cannot be reached, has no worker, or its workers have other versions
    than this computer.
    """

    def __init__(self, address: str, subject: Subject, deadline: float) -> None:
        check_address(address)
        self._deadline, self._address = deadline, address
        self._client = _connect(address)
        self._attempts: dict[Candidate, int] = {}
        self._futures: dict[Any, Candidate] = {}
        self._seen = time.monotonic()
        try:
            self._size = self._threads()
            _compare_versions(self._client, address)
            self._subject = subject
            self._shared = self._share()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        return max(1, self._threads() or self._size)

    def submit(self, candidate: Candidate) -> None:
        left = self._deadline - time.monotonic()
        if left > 0:
            future = self._client.submit(
                remote_trial, self._shared, candidate, left, pure=False, key=None
            )
            self._futures[future] = candidate

    def collect(self, seconds: float) -> list[Outcome]:
        end = time.monotonic() + seconds
        while all(f.status == "pending" for f in self._futures) and time.monotonic() < end:
            time.sleep(_TURN)
        found = []
        try:
            self._watch()
            for future in [f for f in self._futures if f.status != "pending"]:
                outcome = self._outcome(future, self._futures.pop(future))
                if outcome is not None:
                    found.append(outcome)
        except (OSError, RuntimeError, ValueError) as e:
            raise EdgeqError(
                f"the Dask cluster at {self._address} is gone: {e}",
                hint="start it, and edgeq tune, again: what is finished is in its journal",
            ) from e
        return found

    def close(self) -> None:
        with contextlib.suppress(Exception):  # The scheduler may be gone.
            self._client.cancel(list(self._futures))
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)

    def _outcome(self, future: Any, candidate: Candidate) -> Outcome | None:
        if future.status == "finished":
            outcome: Outcome = future.result(timeout=CONNECT_LIMIT)
            return outcome
        error: BaseException | None = None
        if future.status == "error":
            error = future.exception(timeout=CONNECT_LIMIT)
        if time.monotonic() >= self._deadline:
            return None
        tried = self._attempts[candidate] = self._attempts.get(candidate, 1) + 1
        if tried > ATTEMPTS:
            message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            return Outcome(candidate, failed=f"twice: {message}")
        if not isinstance(error, PASSING):  # What all trials share may have been lost.
            self._shared = self._share()
        self.submit(candidate)
        return None

    def _share(self) -> Any:
        return self._client.scatter(self._subject, broadcast=True, hash=False)

    def _threads(self) -> int:
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        return sum(int(w["nthreads"]) for w in workers.values())

    def _watch(self) -> None:
        """Raise when the cluster has had no worker for too long."""
        now = time.monotonic()
        if self._client.status == "running" and self._threads():
            self._seen = now
        elif now - self._seen > LOST_LIMIT:
            raise EdgeqError(
                f"the Dask cluster at {self._address} has had no worker for {LOST_LIMIT:g} s",
                hint="start workers again, and edgeq tune: what is finished is in its journal",
            )


def _connect(address: str) -> Any:
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # What matters is an error here.
    try:
        client = Client(address, timeout=CONNECT_LIMIT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as e:
        raise UsageError(
            f"--workers {address}: no Dask scheduler answers ({str(e).splitlines()[0]})",
            hint="start one: dask scheduler; and on each computer: dask worker " + address,
        ) from e
    try:
        client.wait_for_workers(1, timeout=CONNECT_LIMIT)
    except TimeoutError as e:
        client.close(timeout=5)
        raise UsageError(
            f"--workers {address}: the scheduler has no worker",
            hint=f"on each computer: dask worker {address}",
        ) from e
    return client


def _compare_versions(client: Any, address: str) -> None:
    packages = client.get_versions(check=False, packages=[])
    here = packages["client"]["packages"]
    for name, there in {"scheduler": packages["scheduler"], **packages["workers"]}.items():
        for package in ("python", "distributed"):
            a, b = _release(package, here), _release(package, there["packages"])
            if a != b:
                raise UsageError(
                    f"--workers {address}: {package} {b} on {name}, {a} here",
                    hint="install the same versions on all",
                )
    try:
        computers = client.run(describe_computer)
    except Exception as e:
        raise UsageError(
            f"--workers {address}: its workers cannot run edgeq: {e}",
            hint=f"install edgeq {__version__} in the environment that dask worker runs in",
        ) from e
    mine = describe_computer()
    for name, theirs in computers.items():
        odd = [k for k in {**mine, **theirs} if mine.get(k) != theirs.get(k)]
        if odd:
            a, b = theirs.get(odd[0], "not installed"), mine.get(odd[0], "not installed")
            raise UsageError(
                f"--workers {address}: {odd[0]} on {name} is {a}; here: {b}",
                hint="install the same on all: trials with different tools cannot be compared",
            )


def _release(package: str, versions: Any) -> str:
    text = str(versions.get(package))
    return ".".join(text.split(".")[:2]) if package == "python" else text
