"""Writes the networks of test_torch.py and test_onnx.py to the folder that the command line names.

    python source_models.py torch FOLDER    # .pt2 and .onnx of trained networks, .npz of data
    python source_models.py onnx FOLDER     # small ONNX files made by hand

A process of its own: PyTorch and onnx are no part of edgeq.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

HELD_OUT = 300


def make_torch(folder: Path) -> None:
    import torch
    from source_networks import CNN, LSTM, Transformer, UNet
    from torch import nn

    torch.set_num_threads(1)
    images, labels = digits()
    rows = images.reshape(len(images), 8, 8)
    large = images.repeat(2, axis=2).repeat(2, axis=3)
    masks = (large > 0.5).astype(np.float32)

    def fitted(net: nn.Module, x: Any, y: Any, loss: Any, epochs: int, rate: float) -> nn.Module:
        x, y = torch.from_numpy(x[HELD_OUT:]), torch.from_numpy(y[HELD_OUT:])
        optimizer = torch.optim.Adam(net.parameters(), rate)
        for _ in range(epochs):
            for batch in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                loss(net(x[batch]), y[batch]).backward()
                optimizer.step()
        return net.eval()

    entropy = nn.CrossEntropyLoss()
    for name, make, x, y, loss, epochs, rate, onnx in (
        ("cnn", CNN, large, labels, entropy, 3, 2e-3, True),
        ("lstm", LSTM, rows, labels, entropy, 8, 5e-3, True),
        ("transformer", Transformer, rows, labels, entropy, 8, 3e-3, True),
        ("unet", UNet, large, masks, nn.BCELoss(), 1, 3e-3, True),
    ):
        torch.manual_seed(0)
        net = fitted(make(), x, y, loss, epochs, rate)
        torch.save(net.state_dict(), folder / f"{name}.weights.pt")
        example = torch.from_numpy(x[:1].copy())
        torch.export.save(torch.export.export(net, (example,)), folder / f"{name}.pt2")
        port = "image" if x.ndim == 4 else "rows"
        if onnx:
            torch.onnx.export(
                net, (example,), folder / f"{name}.onnx", dynamo=False, opset_version=17,
                input_names=[port], output_names=["scores"],
                dynamic_axes={port: {0: "batch"}} if name == "unet" else None,
            )  # fmt: skip
        with torch.no_grad():
            outputs = net(torch.from_numpy(x[:HELD_OUT])).numpy()
        data = np.moveaxis(x, 1, -1) if x.ndim == 4 else x
        kept = {"labels": labels[:HELD_OUT]} if name != "unet" else {}
        np.savez(folder / f"{name}.test.npz", **{port: data[:HELD_OUT]}, **kept)
        np.savez(folder / f"{name}.train.npz", **{port: data[HELD_OUT : HELD_OUT + 200]})
        last = np.moveaxis(outputs, 1, -1) if outputs.ndim == 4 else outputs
        np.save(folder / f"{name}.outputs.npy", last)
    (folder / "own.py").write_text(_OWN.replace("TESTS", repr(str(Path(__file__).parent))))


_OWN = """import sys
from pathlib import Path

sys.path.insert(0, TESTS)
import torch
from source_networks import LSTM


def make():
    net = LSTM()
    net.load_state_dict(torch.load(Path(__file__).with_name("lstm.weights.pt")))
    return net, {"rows": torch.zeros(1, 8, 8)}


def wrong():
    return 3


def broken():
    raise ValueError("no weights here")
"""


def digits() -> tuple[Any, Any]:
    """(N,1,8,8) images, 0 to 1, and their classes, in an order that is always the same."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = (found.images[order] / 16).astype(np.float32)
    return images[:, np.newaxis], found.target[order].astype(np.int64)


def make_onnx(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)

    def write(name: str, nodes: Any, shape: Any, made: Any, constants: Any = ()) -> None:
        ports = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
            for n, s in (("x", shape), ("y", made))
        ]
        graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], list(constants))
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        onnx.save(model, folder / name)

    def constant(name: str, value: Any) -> Any:
        return numpy_helper.from_array(np.asarray(value), name)

    relu = [helper.make_node("Relu", ["x"], ["y"])]
    write("open_batch.onnx", relu, ["N", 3, 5, 4], ["N", 3, 5, 4])
    write("open_height.onnx", relu, [1, 3, "H", 4], [1, 3, "H", 4])
    write("det.onnx", [helper.make_node("Det", ["x"], ["y"], "area")], [1, 3, 4, 4], [1, 3])
    foreign = [helper.make_node("Foo", ["x"], ["y"], domain="my.ops")]
    write("foreign.onnx", foreign, [1, 3], [1, 3])
    pool = helper.make_node(
        "MaxPool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]
    )
    write("pool.onnx", [pool], [1, 3, 8, 8], [1, 3, 4, 4])
    norm = [helper.make_node("LayerNormalization", ["x", "g", "b"], ["y"], axis=-1)]
    gains = [constant("g", np.ones(8, np.float32)), constant("b", np.zeros(8, np.float32))]
    write("norm.onnx", norm, [1, 4, 8], [1, 4, 8], gains)

    # Two convolutions as a quantization-aware training leaves them.
    weights = (random.standard_normal((4, 3, 3, 3)) * 0.2).astype(np.float32)
    steps = (np.abs(weights).reshape(4, -1).max(1) / 127).astype(np.float32)
    whole = np.clip(np.round(weights / steps.reshape(4, 1, 1, 1)), -127, 127).astype(np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "rs", "rz"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "rs", "rz"], ["rd"]),
        helper.make_node("AveragePool", ["rd"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("QuantizeLinear", ["p", "ys", "yz"], ["pq"]),
        helper.make_node("DequantizeLinear", ["pq", "ys", "yz"], ["y"]),
    ]
    write(
        "qdq.onnx", nodes, [1, 3, 8, 8], [1, 4, 4, 4],
        [constant("xs", np.float32(0.02)), constant("xz", np.int8(3)),
         constant("w", whole), constant("ws", steps), constant("wz", np.zeros(4, np.int8)),
         constant("rs", np.float32(0.013)), constant("rz", np.int8(-128)),
         constant("ys", np.float32(0.013)), constant("yz", np.int8(-128))],
    )  # fmt: skip
    np.save(folder / "qdq.npy", random.standard_normal((60, 8, 8, 3)).astype(np.float32))

    kept = helper.make_tensor("g", TensorProto.FLOAT, [4], np.zeros(4, np.float32))
    for name, place in (("escape.onnx", "../outside.bin"), ("absent.onnx", "absent.bin")):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(kept)
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", place
        write(name, [helper.make_node("Add", ["x", "g"], ["y"])], [1, 4], [1, 4], [tensor])
    whole_file = (folder / "qdq.onnx").read_bytes()
    (folder / "short.onnx").write_bytes(whole_file[: len(whole_file) // 2])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    {"torch": make_torch, "onnx": make_onnx}[sys.argv[1]](Path(sys.argv[2]))
