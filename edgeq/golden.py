"""Golden vectors: inputs, and the outputs that a device is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Golden:
    """Samples as the model stores them (quantized stays quantized), with its own shapes.

    `inputs[i]` and `outputs[i]` hold one array for each input and output of the model, in its
    order. `reference` names the kernels that computed the outputs. `tolerance` says how many
    quantization steps other kernels may be away from them, one number for each output. `exact`:
    the same kernels give these very bytes on any processor.
    """

    inputs: tuple[tuple[NDArray[Any], ...], ...]
    outputs: tuple[tuple[NDArray[Any], ...], ...]
    reference: str
    tolerance: tuple[int, ...]
    exact: bool = True

    def __len__(self) -> int:
        return len(self.inputs)
