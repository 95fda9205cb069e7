"""How far an output may follow its input: the formula against a simulation byte by byte."""

from __future__ import annotations

import random

import pytest

from edgeq.codegen.aot.windows import Window


def is_safe(window: Window, batches: int, input_pixel: int, output_pixel: int, lead: int) -> bool:
    """Whether each output, read and then written in order, finds its inputs untouched.

    The output begins at byte 0, the input at `lead`.
    """
    top, left = window.padding
    height, width = window.input
    written = 0
    for batch in range(batches):
        for y in range(window.output[0]):
            for x in range(window.output[1]):
                end = written + output_pixel
                for i in range(window.kernel[0]):
                    for j in range(window.kernel[1]):
                        row = y * window.stride[0] - top + i * window.dilation[0]
                        column = x * window.stride[1] - left + j * window.dilation[1]
                        if 0 <= row < height and 0 <= column < width:
                            pixel = (batch * height + row) * width + column
                            # The kernel may write this output while it still reads for it.
                            if lead + pixel * input_pixel < end:
                                return False
                written = end
    return True


@pytest.mark.parametrize("seed", range(150))
def test_lead(seed: int) -> None:
    chance = random.Random(seed)
    kernel = (chance.randrange(1, 5), chance.randrange(1, 5))
    stride = (chance.randrange(1, 4), chance.randrange(1, 4))
    dilation = (chance.randrange(1, 3), chance.randrange(1, 3))
    size = (chance.randrange(1, 9), chance.randrange(1, 9))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if chance.random() < 0.5 and all(r <= s for r, s in zip(reach, size, strict=True)):
        output = tuple((s - r) // t + 1 for s, r, t in zip(size, reach, stride, strict=True))
    else:
        output = tuple(-(-s // t) for s, t in zip(size, stride, strict=True))
    window = Window(size, (output[0], output[1]), kernel, stride, dilation)
    batches = chance.randrange(1, 3)
    pixels = chance.randrange(1, 9), chance.randrange(1, 9)
    lead = window.lead(batches, *pixels)
    assert is_safe(window, batches, *pixels, lead)
    assert lead <= batches * output[0] * output[1] * pixels[1]


@pytest.mark.parametrize(
    ("window", "pixels", "lead"),
    [
        # One pixel sees one pixel: the output may be one pixel ahead.
        (Window((4, 5), (4, 5), (1, 1), (1, 1), (1, 1)), (8, 8), 8),
        (Window((4, 5), (4, 5), (1, 1), (1, 1), (1, 1)), (16, 8), 8),
        (Window((4, 5), (4, 5), (1, 1), (1, 1), (1, 1)), (8, 16), 20 * 16 - 19 * 8),
        # 3 x 3 sees one row and one pixel back.
        (Window((4, 5), (4, 5), (3, 3), (1, 1), (1, 1)), (8, 8), (5 + 1 + 1) * 8),
        # Halving the sides frees input faster than output comes.
        (Window((8, 8), (4, 4), (2, 2), (2, 2), (1, 1)), (8, 8), 8),
    ],
)
def test_leads_of_common_layers(window: Window, pixels: tuple[int, int], lead: int) -> None:
    assert window.lead(1, *pixels) == lead
    assert is_safe(window, 1, *pixels, lead)
    assert not is_safe(window, 1, *pixels, lead - 1)
