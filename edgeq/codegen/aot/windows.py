"""Kernels that slide a window over an image: where it lies, and how far the output may follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.codegen.aot.layer import Value, quantization
from edgeq.graph import Op, Tensor
from edgeq.memory import Overlap

Fields = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Window:
    """A window of `kernel` taps over an image; all pairs are (height, width)."""

    input: tuple[int, int]
    output: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def padding(self) -> tuple[int, int]:
        """Rows above and columns left of the image: half of what SAME needs, rounded down.

        With VALID all outputs fit in, and it is (0, 0).
        """
        top, left = (
            max(0, (self.output[i] - 1) * self.stride[i] + self._reach(i) - self.input[i]) // 2
            for i in (0, 1)
        )
        return top, left

    def _reach(self, i: int) -> int:
        return (self.kernel[i] - 1) * self.dilation[i] + 1

    def lead(self, batches: int, input_pixel: int, output_pixel: int) -> int:
        """Bytes that the output must begin before the input, when it may lie over it.

        For a kernel that goes through the outputs in order and has read all that an output sees
        before it goes on to the next one. `input_pixel` and `output_pixel` are in bytes.
        """
        top, left = self.padding
        rows = np.maximum(0, np.arange(self.output[0]) * self.stride[0] - top)
        columns = np.maximum(0, np.arange(self.output[1]) * self.stride[1] - left)
        corners = (rows[:, None] * self.input[1] + columns[None, :]).reshape(-1)
        image = self.input[0] * self.input[1]
        first = (np.arange(batches)[:, None] * image + corners[None, :]).reshape(-1) * input_pixel
        # What is needed from this output on: later ones may see earlier pixels.
        needed = np.minimum.accumulate(first[::-1])[::-1]
        written = np.arange(1, len(needed) + 1) * output_pixel
        return max(0, int((written - needed).max()))

    def overlap(self, input: Tensor, output: Tensor) -> Overlap:
        """The same for NHWC tensors."""
        pixels = [t.bytes // t.elements * t.shape[3] for t in (input, output)]
        return Overlap(0, 0, self.lead(output.shape[0], *pixels))


def window(op: Op, input: Tensor, output: Tensor, height: int, width: int) -> Window:
    """The window of an operator with the options of a convolution, over NHWC tensors."""
    options = op.options
    return Window(
        input=(input.shape[1], input.shape[2]),
        output=(output.shape[1], output.shape[2]),
        kernel=(height, width),
        stride=(int(options["stride_h"]), int(options["stride_w"])),
        dilation=(int(options.get("dilation_h", 1)), int(options.get("dilation_w", 1))),
    )


def window_fields(op: Op, input: Tensor, window: Window) -> Fields:
    """The fields of eq_window_t."""
    return (
        ("input_height", window.input[0]),
        ("input_width", window.input[1]),
        ("input_channels", input.shape[3]),
        ("kernel_height", window.kernel[0]),
        ("kernel_width", window.kernel[1]),
        ("stride_height", window.stride[0]),
        ("stride_width", window.stride[1]),
        ("dilation_height", window.dilation[0]),
        ("dilation_width", window.dilation[1]),
        ("pad_top", window.padding[0]),
        ("pad_left", window.padding[1]),
        ("zero_point", quantization(op, input).zero_point),
    )
