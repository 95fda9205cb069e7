"""A session with the device double, over the proxy: what the tests of sessions begin with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from device_double import Behaviour, DeviceDouble, Network, is_tick
from fault_proxy import FaultProxy

from edgeq.expected import Expected
from edgeq.golden import Golden
from edgeq.link import Limits
from edgeq.session import Session
from edgeq.targets import load_target
from edgeq.transports.serial import SerialTransport

BOARD = load_target("nucleo-f446re")

SLOW = 4

LIMITS = Limits(open=3.0, reply=1.0, inference=2.0, quiet=0.06, patience=60.0)
"""Short ones: the double answers within a millisecond."""


def expected(network: Network, samples: int = 3) -> Expected:
    random = np.random.default_rng(1)
    inputs = [
        tuple(random.integers(-128, 128, (1, n), np.int8) for n in network.inputs)
        for _ in range(samples)
    ]
    outputs = [
        tuple(
            np.frombuffer(o, np.int8).reshape(1, -1)
            for o in network.run([v.tobytes() for v in sample], 0)
        )
        for sample in inputs
    ]
    golden = Golden(tuple(inputs), tuple(outputs), "the double", (0,) * len(network.outputs))
    return Expected(
        name=network.name,
        sha256=hashlib.sha256(b"tiny").hexdigest(),
        scheme="int8",
        engine="aot",
        golden=golden,
        how_to_flash="edgeq flash build/it",
        layer_crcs=lambda sample, _: network.layer_crcs([v.tobytes() for v in sample]),
    )


@dataclass
class Bench:
    device: DeviceDouble
    proxy: FaultProxy
    session: Session
    expected: Expected
    notices: list[str]
    trace: list[tuple[float, str, str]]

    def measure(self, runs: int = 40, warmup: int = 2):
        with self.session:
            return self.session.measure(self.expected, runs, warmup)


@contextmanager
def bench(
    behaviour: Behaviour | None = None,
    network: Network | None = None,
    limits: Limits = LIMITS,
    seed: int = 0,
    instruction_hz: float | None = None,
) -> Iterator[Bench]:
    network = network or Network()
    device = DeviceDouble(network, behaviour)
    proxy = FaultProxy(device.fd, seed)
    notices: list[str] = []
    trace: list[tuple[float, str, str]] = []
    session = Session(
        BOARD,
        SerialTransport(proxy.name, instruction_hz=instruction_hz),
        limits=limits,
        trace=lambda *line: trace.append(line),
        notice=notices.append,
    )
    try:
        yield Bench(device, proxy, session, expected(network), notices, trace)
    finally:
        session.close()
        proxy.close()
        device.close()


def right(measurement, runs: int = 40) -> None:
    """Whether every number is one that the device counted."""
    assert len(measurement.samples) == runs == sum(measurement.blocks)
    assert all(is_tick(s) for s in measurement.samples)
    assert measurement.first is not None and is_tick(measurement.first)
    assert (measurement.checks.count, measurement.checks.equal) == (3, 3)
    assert measurement.unit == "cycles" and measurement.tick_hz == 480e6


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """On a machine that does nothing else; a busy one is given SLOW times as long."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SLOW * seconds
