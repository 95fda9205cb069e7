import numpy as np
import pytest
from make_model import Maker, convolution, endless_loop, relu, tiny_int8

from edgeq import interpreters
from edgeq.errors import WorkerTimeout
from edgeq.interpreters import inference_limit, litert, run
from edgeq.tflite import read_graph


def large_convolution() -> bytes:
    """A billion MACs, in a file of 2 kilobytes."""
    m = Maker()
    x, y = (m.tensor(n, (1, 1000, 1000, 16), np.int8, 0.1) for n in "xy")
    w = m.tensor("w", (16, 2, 2, 16), np.int8, 0.1, data=np.ones((16, 2, 2, 16)))
    b = m.tensor("b", (16,), np.int32, 0.01, data=np.zeros(16))
    m.op("CONV_2D", [x, w, b], [y], convolution(), version=3)
    return m.bytes([x], [y])


def test_a_larger_model_and_more_samples_get_more_time():
    small, large = read_graph(tiny_int8()), read_graph(large_convolution())
    assert inference_limit(small, 16) < 61
    assert inference_limit(large, 1) > 85
    assert inference_limit(large, 16) - 60 == pytest.approx(
        16 * (inference_limit(large, 1) - 60), rel=0.01
    )


def test_samples_that_are_large_travel_one_by_one():
    with litert(relu((1, 8))) as small, litert(relu((1, 50_000_000))) as large:
        assert (small.batch, large.batch) == (16, 1)


def test_a_late_inference_says_which_engine_and_what_may_be_wrong(monkeypatch):
    monkeypatch.setattr(interpreters, "LEAST_LIMIT", 1.0)
    sample = (np.zeros((1, 4), np.int8),)
    with litert(endless_loop(), "builtin") as network:
        with pytest.raises(WorkerTimeout, match="LiteRT's builtin kernels: an inference") as caught:
            list(run(network, [sample]))
    assert "WHILE" in caught.value.hint
