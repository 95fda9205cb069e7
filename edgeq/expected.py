"""What a device is held to: which firmware it must run, and what that must compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeq.answers import Info, ModelFacts
from edgeq.bundle import Bundle
from edgeq.golden import Golden
from edgeq.outputs import Arrays, limits_of, tolerances_of

LayerCrcs = Callable[[Arrays, Arrays], Sequence[int | None] | None]


@dataclass(frozen=True, eq=False)
class Expected:
    """What the firmware on the device must be, and what it must compute.

    `how_to_flash` is the command for a device with something else. `layer_crcs(inputs, outputs)`
    is called when an output is wrong, with a sample and what it should have given: CRC-32 of each
    layer's first output, in the device's order of layers, None for those that the reference has
    not, and None altogether where it cannot tell.
    """

    name: str
    sha256: str
    scheme: str
    engine: str
    golden: Golden
    how_to_flash: str
    layer_crcs: LayerCrcs | None = None

    @property
    def limits(self) -> tuple[float, ...]:
        """How far each output may be from the golden one: not at all, but for LiteRT's kernels,
        which differ from version to version and from processor to processor."""
        if self.engine == "litert":
            return tolerances_of(self.golden)
        return limits_of(self.golden)

    def difference(self, info: Info, model: ModelFacts, target: str) -> str | None:
        """ "engine tflm for b, not engine aot for a": what else a device for `target` runs."""
        if model.sha256 != self.sha256:
            return f"{model.name} {model.sha256}, not {self.name} {self.sha256}"
        if (info.engine, info.target) != (self.engine, target):
            return f"engine {info.engine} for {info.target}, not engine {self.engine} for {target}"
        golden = self.golden
        for kind, samples, tensors in (
            ("input", golden.inputs, model.inputs),
            ("output", golden.outputs, model.outputs),
        ):
            found, wanted = [t.bytes for t in tensors], [v.nbytes for s in samples[:1] for v in s]
            if samples and found != wanted:
                return f"{kind}s of {found} bytes, not {wanted}"
        return None


def expected_of(
    bundle: Bundle,
    how_to_flash: str,
    layer_crcs: LayerCrcs | None = None,
) -> Expected:
    """What `bundle` says of the firmware that was built from it."""
    return Expected(
        name=bundle.name,
        sha256=str(bundle.manifest["model"]["sha256"]),
        scheme=str(bundle.manifest["scheme"]),
        engine=str(bundle.manifest["engine"]),
        golden=bundle.golden(),
        how_to_flash=how_to_flash,
        layer_crcs=layer_crcs,
    )
