"""The commands of a device's harness, as functions: what each answers, held to what was asked.

An answer that contradicts its command, or the model that the device says it has, is a DeviceFault:
the line did not change it, its CRC says.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from edgeq import answers, protocol
from edgeq.answers import DeviceMemory, Info, LayerTicks, ModelFacts, Run
from edgeq.errors import DataError, DeviceFault
from edgeq.link import OTHER_HARNESS, Limits, Link, Restarted
from edgeq.outputs import Arrays

T = TypeVar("T")

UNSTABLE = "memory or clock are not stable, or something else writes to the arena"

_LONGEST_SECONDS = 1e6
"""Of an inference, by the device's clock: 11 days. The numbers of a results file end somewhere."""

_SLACK = 4
"""How much longer than the last one an inference may take before it counts as lost: emulators
share the processor with other work."""


class Harness:
    """What it has told of itself, and what was loaded. `first` are the first inference's ticks,
    `seconds` how long the last one took on the host's clock; both None before any.
    """

    def __init__(self, link: Link, limits: Limits) -> None:
        self._link = link
        self._limits = limits
        self._info: Info | None = None
        self._model: ModelFacts | None = None
        self._loaded: tuple[bytes, ...] | None = None
        self.keeps_state = False
        self.first: int | None = None
        self.seconds: float | None = None

    @property
    def name(self) -> str:
        return self._link.name

    @property
    def info(self) -> Info:
        assert self._info is not None, "the session is not open"
        return self._info

    @property
    def facts(self) -> ModelFacts:
        """Of the model that `begin` was told to take."""
        assert self._model is not None, "check_model comes first"
        return self._model

    def started(self, info: Info) -> None:
        """The device came into step, and has forgotten what was loaded."""
        self._info = info
        self._loaded = None

    def model(self) -> ModelFacts:
        """What the device says of its model."""
        return self._link.exchange(["eq", "model"], answers.decode_model)

    def begin(self, model: ModelFacts) -> None:
        """Hold all answers from now on to `model`, in the state that it has at the start."""
        self._model = model
        self.keeps_state = self._link.exchange(["eq", "reset"], answers.decode_reset)

    def memory(self) -> DeviceMemory:
        """What the firmware takes of the device's memory."""
        return self._link.exchange(["eq", "mem"], answers.decode_memory)

    def infer(self, sample: Arrays) -> Arrays:
        """The outputs for one sample, both as the network stores them."""
        self._load(sample)
        run = self.run(1, 0, anew=True)
        if self.first is None:
            self.first = run.ticks[0]
        data = [self._output(i, t.bytes) for i, t in enumerate(self.facts.outputs)]
        if zlib.crc32(b"".join(data)) != run.outputs:
            raise DeviceFault(f"{self.name}: an output changed after the inference", hint=UNSTABLE)
        return tuple(
            np.frombuffer(d, np.dtype(t.dtype).newbyteorder("<")).astype(t.dtype).reshape(t.shape)
            for d, t in zip(data, self.facts.outputs, strict=True)
        )

    def _load(self, sample: Arrays) -> None:
        data = tuple(np.asarray(v).tobytes() for v in sample)
        sizes = [t.bytes for t in self.facts.inputs]
        if [len(d) for d in data] != sizes:
            raise DataError(
                f"a sample of {[len(d) for d in data]} bytes; the model's inputs take {sizes}",
                hint="give one array for each input, in its shape and dtype",
            )
        if data == self._loaded:
            return
        self._loaded = None
        for index, content in enumerate(data):
            self._load_input(index, content)
        self._loaded = data

    def _load_input(self, index: int, content: bytes) -> None:
        def give(offset: int, count: int, attempts: int | None) -> None:
            words = protocol.encode_load(index, offset, content[offset : offset + count])
            loaded = self._link.exchange(words, answers.decode_loaded, attempts=attempts)
            if loaded != (index, offset, count):
                raise self._contradiction("eq load took other bytes than were sent")

        self._link.in_pieces(len(content), self.info.chunk, give)

    def run(self, count: int, warmup: int, anew: bool = False) -> Run:
        """`count` timed inferences of the sample that was loaded last, after `warmup` others.

        `anew`: from the state that the network has at the start.
        """
        start = time.monotonic()
        words = ["eq", "run", str(count), str(warmup)]
        run = self._exchange_inference(words, answers.decode_run, count + warmup, anew)
        if len(run.ticks) != count or run.warmup != warmup:
            raise self._contradiction("eq run made other runs than it was asked for")
        longest = max(run.ticks) / self.info.tick_hz
        if longest > _LONGEST_SECONDS:
            raise self._contradiction(f"eq run counted {longest:.3g} s for one inference")
        self._require_inputs(run.inputs)
        self.seconds = (time.monotonic() - start) / (count + warmup)
        return run

    def _exchange_inference(
        self,
        words: list[str],
        decode: Callable[[protocol.Answer], T],
        count: int,
        anew: bool = False,
    ) -> T:
        """Exchange a command that makes `count` inferences, with time for so many.

        `anew`: in each attempt from the state that the network has at the start.
        """
        if self.seconds is None:
            busy = self._limits.inference * count
        else:
            silent = min(count, self.info.batch)
            busy = _SLACK * self.seconds * silent
        before = ["eq", "reset"] if anew and self.keeps_state else None
        return self._link.exchange(words, decode, busy, before=before)

    def _require_inputs(self, crc: int) -> None:
        """A device that lost what was loaded has restarted, even if its banner was lost too."""
        assert self._loaded is not None
        if crc != zlib.crc32(b"".join(self._loaded)):
            self._loaded = None
            raise Restarted("it forgot its inputs")

    def _output(self, index: int, size: int) -> bytes:
        data = bytearray()

        def take(offset: int, count: int, attempts: int | None) -> None:
            words = ["eq", "out", str(index), str(offset), str(count)]

            def decode(answer: protocol.Answer) -> bytes:
                return answers.decode_out(answer, index, offset, count)

            data.extend(self._link.exchange(words, decode, attempts=attempts))

        self._link.in_pieces(size, size, take)
        return bytes(data)

    def layer_crcs(self, sample: Arrays) -> tuple[int, ...]:
        """CRC-32 of each layer's first output for one sample."""
        self._load(sample)
        layers = self._exchange_inference(["eq", "layers"], answers.decode_layers, 2, anew=True)
        self._require_inputs(layers.inputs)
        self._require_layers("eq layers", len(layers.crcs))
        return layers.crcs

    def layer_ticks(self, count: int) -> LayerTicks:
        """The layers, and their ticks in `count` inferences of the sample loaded last."""
        # A device with little room measures its layers in several windows, `count` runs each.
        windows = 1 + self.facts.layers // 8
        words = ["eq", "prof", str(count)]
        found = self._exchange_inference(words, answers.decode_profile, count * windows)
        if len(found.ticks) != count:
            raise self._contradiction("eq prof made other runs than it was asked for")
        self._require_inputs(found.inputs)
        self._require_layers("eq prof", len(found.layers))
        return found

    def _require_layers(self, command: str, count: int) -> None:
        if count != self.facts.layers:
            raise self._contradiction(
                f"{command} has {count} layers, its model {self.facts.layers}"
            )

    def _contradiction(self, text: str) -> DeviceFault:
        return DeviceFault(f"{self.name}: {text}", hint=OTHER_HARNESS)
