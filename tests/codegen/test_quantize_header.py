"""edgeq_quantize.h rounds as the host does."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from exports import HOST, compile_ok, port, run, write

from edgeq import resources
from edgeq.quantization import dequantize, quantize

QUANTIZE_PROGRAM = r"""
#include <stdio.h>
#include "edgeq_quantize.h"
/* type scale zero_point count, then floats; out come int32: stored, then float32: real again */
int main(void) {
    unsigned header[3];
    float scale;
    while (fread(header, sizeof header, 1, stdin) == 1) {
        if (fread(&scale, sizeof scale, 1, stdin) != 1) return 1;
        const int32_t zero_point = (int32_t)header[1];
        for (unsigned i = 0; i < header[2]; ++i) {
            float real, again;
            int32_t stored;
            if (fread(&real, sizeof real, 1, stdin) != 1) return 1;
            if (header[0] == 0) {
                int8_t one;
                eq_quantize_all_int8(&real, &one, 1, scale, zero_point);
                eq_dequantize_all_int8(&one, &again, 1, scale, zero_point);
                stored = one;
            } else if (header[0] == 1) {
                uint8_t one;
                eq_quantize_all_uint8(&real, &one, 1, scale, zero_point);
                eq_dequantize_all_uint8(&one, &again, 1, scale, zero_point);
                stored = one;
            } else {
                int16_t one;
                eq_quantize_all_int16(&real, &one, 1, scale, zero_point);
                eq_dequantize_all_int16(&one, &again, 1, scale, zero_point);
                stored = one;
            }
            fwrite(&stored, sizeof stored, 1, stdout);
            fwrite(&again, sizeof again, 1, stdout);
        }
    }
    return 0;
}
"""

SCALES = (1.0, 0.0078125, 0.5847029, 0.003921569, 0.1, 3.0517578e-05, 1e-30, 1e-42, 3e38, 7.0)
ZERO_POINTS = {"int8": (-128, 0, 5, 127), "uint8": (0, 128, 255), "int16": (0, -32768, 32767, 77)}


def real_values(scale: float, rng: np.random.Generator) -> np.ndarray:
    """Every float pattern's neighbourhood, all halves of the int8 range, and the awkward ones."""
    bits = rng.integers(0, 1 << 32, 4000, np.uint64).astype(np.uint32).view(np.float32)
    with np.errstate(over="ignore"):
        halves = (np.arange(-300, 300, dtype=np.float32) + np.float32(0.5)) * np.float32(scale)
        large = (np.arange(-32770, 32770, 13, dtype=np.float32) + np.float32(0.5)) * np.float32(
            scale
        )
    edge = np.array(
        [0.0, -0.0, 0.49999997, -0.49999997, 1e-45, -1e-45, np.inf, -np.inf], np.float32
    )
    near = np.concatenate([np.nextafter(halves, np.float32(s)) for s in (np.inf, -np.inf)])
    values = np.concatenate([bits, halves, near, large, edge, edge * np.float32(scale)])
    return np.asarray(values[~np.isnan(values)], np.float32)


@pytest.mark.parametrize("language", ["c", "cc"])
def test_quantize_header_rounds_as_the_host_does(tmp_path: Path, language: str) -> None:
    write(
        tmp_path,
        {
            "edgeq_quantize.h": resources.path(
                "runtime", "include", "edgeq_quantize.h"
            ).read_text(),
            f"q.{language}": QUANTIZE_PROGRAM,
        },
    )
    sanitizers = "-fsanitize=address,undefined,float-cast-overflow"
    compile_ok(
        HOST[language], tmp_path, "-O1", sanitizers, "-fno-sanitize-recover=all", f"q.{language}",
        "-o", "q",
    )  # fmt: skip
    rng = np.random.default_rng(3)
    question, expected_stored, expected_real = b"", [], []
    for number, dtype in enumerate(ZERO_POINTS):
        for zero_point, scale in itertools.product(ZERO_POINTS[dtype], SCALES):
            tensor = port(0, dtype, (1,), scale, zero_point)
            values = real_values(scale, rng)
            with np.errstate(over="ignore", under="ignore"):
                stored = quantize(values, tensor)
                real = dequantize(stored, tensor)
            values = np.append(values, np.array([np.nan, -np.nan], np.float32))
            stored = np.append(stored, np.array([zero_point] * 2, stored.dtype))
            real = np.append(real, np.zeros(2, np.float32))
            header = np.array([number, zero_point & 0xFFFFFFFF, values.size], np.uint32)
            question += header.tobytes() + np.float32(scale).tobytes() + values.tobytes()
            expected_stored.append(stored.astype(np.int32))
            expected_real.append(real)
    done = run([tmp_path / "q"], input=question)
    assert done.returncode == 0, done.stderr.decode()
    answer = np.frombuffer(done.stdout, np.dtype([("stored", "<i4"), ("real", "<f4")]))
    np.testing.assert_array_equal(answer["stored"], np.concatenate(expected_stored))
    np.testing.assert_array_equal(
        answer["real"].view(np.uint32) & 0x7FFFFFFF,
        np.concatenate(expected_real).view(np.uint32) & 0x7FFFFFFF,
    )
