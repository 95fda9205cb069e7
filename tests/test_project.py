"""edgeq.toml: finding it, every mistake in it, and the file that `edgeq init` writes."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

from edgeq.cli import run
from edgeq.errors import UsageError
from edgeq.graph import Port, Tensor
from edgeq.images import parse_scaling
from edgeq.labs import DeviceSettings
from edgeq.project import (
    Project,
    find_project,
    identifier,
    load_project,
    project_template,
)

ROOT = Path(__file__).resolve().parent.parent

SMALL = 'name = "net"\nmodel = "net.keras"\n'

FULL = """
name = "digits"
model = "models/digits.keras"
targets = ["rpi", "./boards/mine.toml", "other.toml", "/opt/lab/board.toml"]
output = "out"
int16 = ["dense"]
scheme = "int16x8"
engine = "tflm"
labels = ["zero", " one "]
output_names = { dense = "scores" }
signature_key = "serve"
allow_lambda = true

[input]
image_size = [28, 32]
image_channels = 1
image_scaling = "0..1"
shapes = { image = [1, 28, 32, 1] }

[calibration]
data = "data.py:some"
samples = 150
method = "mse"

[evaluation]
data = "/data/test"
labels = "test.csv"
min_accuracy = 97
max_accuracy_drop = 0.5
min_sqnr = 20
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "edgeq.toml"
    path.write_text(text, encoding="utf-8")
    return path


def port(name: str, *shape: int, dtype: str = "float32") -> Port:
    return Port(name, Tensor(0, name, shape, dtype))


def uncommented(text: str) -> str:
    """The template with every setting that is commented out set (the last of each key)."""
    lines = [re.sub(r"^# (?=[a-z_]+ = )", "", line) for line in text.splitlines()]
    kept: list[str] = []
    for number, line in enumerate(lines):
        key = re.match(r"([a-z_]+) = ", line)
        rest = lines[number + 1 :]
        section = rest[: next((i for i, later in enumerate(rest) if later[:1] == "["), None)]
        if not (key and any(later.startswith(f"{key[1]} = ") for later in section)):
            kept.append(line)
    return "\n".join(kept) + "\n"


# --- Finding ---------------------------------------------------------------------------------


def test_the_nearest_file_above_is_found(tmp_path: Path) -> None:
    outer = write(tmp_path, SMALL)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_project(deep) == outer
    inner = write(tmp_path / "a", SMALL)
    assert find_project(deep) == inner
    assert find_project(tmp_path) == outer


def test_a_relative_start_looks_above_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, SMALL)
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert find_project(Path(".")) == path


def test_none_is_found_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "edgeq.toml").mkdir()  # A folder of that name is no project.
    assert find_project(tmp_path) is None


# --- Loading ---------------------------------------------------------------------------------


def test_the_smallest_file_has_defaults(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, SMALL))
    assert project == Project(
        source=tmp_path / "edgeq.toml",
        name="net",
        model=tmp_path / "net.keras",
        output=tmp_path / "build",
    )


def test_everything_and_paths_beside_the_file(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, FULL))
    assert project.model == tmp_path / "models/digits.keras"
    assert project.targets == (
        "rpi",
        str(tmp_path / "boards/mine.toml"),
        str(tmp_path / "other.toml"),
        "/opt/lab/board.toml",
    )
    assert project.output == tmp_path / "out"
    assert (project.scheme, project.engine) == ("int16x8", "tflm")
    assert project.labels == ("zero", "one")
    assert project.output_names == {"dense": "scores"}
    assert (project.signature_key, project.allow_lambda) == ("serve", True)
    assert project.input.image_size == (28, 32)
    assert project.input.image_channels == 1
    assert project.input.image_scaling == "0..1"
    assert project.input.shapes == {"image": (1, 28, 32, 1)}
    assert project.calibration.data == str(tmp_path / "data.py:some")
    assert (project.calibration.samples, project.calibration.method) == (150, "mse")
    assert project.evaluation.data == "/data/test"
    assert project.evaluation.labels == str(tmp_path / "test.csv")
    assert project.evaluation.min_accuracy == 97
    assert project.evaluation.max_accuracy_drop == 0.5
    assert project.evaluation.min_sqnr == 20


def test_labels_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\ufeffKatze\r\n Hund \r\nMaus\r\n\r\n".encode())
    project = load_project(write(tmp_path, SMALL + 'labels = "labels.txt"\n'))
    assert project.labels == ("Katze", "Hund", "Maus")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "no key name", "edgeq init"),
        ('name = "net"\n', "no key model", "edgeq init"),
        ('naem = "net"\n', "unknown key naem", "did you mean name?"),
        (SMALL + "zzz = 1\n", "unknown key zzz", "keys: name, model, targets"),
        (SMALL + "[calibraton]\n", "unknown key calibraton", "did you mean calibration?"),
        (
            SMALL + '[calibration]\ndta = "x"\n',
            "unknown key calibration.dta",
            "did you mean calibration.data?",
        ),
        (
            SMALL + "[input]\nimagesize = [1, 2]\n",
            "unknown key input.imagesize",
            "did you mean input.image_size?",
        ),
        (
            SMALL + '[evaluation]\ntargets = ["rpi"]\n',
            "targets stands below [evaluation], so it counts as evaluation.targets",
            "move targets above the first [table]",
        ),
        (
            SMALL + '[evaluation]\nlabels = ["cat", "dog"]\n',
            "labels stands below [evaluation]",
            "above the first [table]",
        ),
        (SMALL + 'targets = "rpi"\n', "targets must be a list, not text in quotes", None),
        (SMALL + 'targets = ["rpi", "rpi"]\n', "targets has 'rpi' twice", "once"),
        (SMALL + 'targets = [""]\n', "targets[0] is empty", "leave the key out"),
        (SMALL + 'output = ""\n', "output is empty", "leave the key out"),
        (
            SMALL + "labels = 3\n",
            "labels must be text in quotes or a list, not a whole number",
            None,
        ),
        (SMALL + 'labels = ["a", ""]\n', "the label of class 1 is empty", "from class 0"),
        (SMALL + 'labels = ["a\\u001b[2J"]\n', "has control characters", "from class 0"),
        (SMALL + 'labels = "none.txt"\n', "labels: no file", "one a line"),
        (
            SMALL + "allow_lambda = 1\n",
            "allow_lambda must be true or false, not a whole number",
            None,
        ),
        (SMALL + 'output_names = ["a b"]\n', "'a b' cannot be a name in C", "'a_b'"),
        (SMALL + 'output_names = { x = "9" }\n', "'9' cannot be a name in C", "'model_9'"),
        (SMALL + "input = 3\n", "input must be a table, not a whole number", None),
        (SMALL + "[input]\nimage_size = [28]\n", "at `$.input.image_size`", None),
        (SMALL + "[input]\nimage_size = [0, 28]\n", "input.image_size = [0, 28]", "[height"),
        (SMALL + "[input]\nimage_channels = 4\n", "input.image_channels = 4", "3 for RGB"),
        (SMALL + "[input.shapes]\nx = [1, -1]\n", "input.shapes.x = [1, -1]", "every dimension"),
        (SMALL + "[input.shapes]\nx = []\n", "input.shapes.x = []", "every dimension"),
        (SMALL + '[input.shapes]\nx = ["1"]\n', "must be a whole number, not text in quotes", None),
        (SMALL + "[calibration]\nsamples = 0\n", "calibration.samples = 0", "100 to 200"),
        (SMALL + '[calibration]\nmethod = "mle"\n', "calibration.method: unknown", "mse"),
        (SMALL + '[calibration]\ndata = " "\n', "calibration.data is empty", "leave the key"),
        (
            SMALL + "[evaluation]\nmin_accuracy = 0.95\n",
            "evaluation.min_accuracy = 0.95 would let almost anything pass",
            "write 95 for 95 %",
        ),
        (SMALL + "[evaluation]\nmin_accuracy = 101\n", "not between 0 and 100", "in percent"),
        (SMALL + "[evaluation]\nmax_accuracy_drop = -1\n", "not between 0 and 100", "percent"),
        (SMALL + "[evaluation]\nmin_accuracy = nan\n", "not between 0 and 100", "percent"),
        (SMALL + "[evaluation]\nmin_sqnr = inf\n", "evaluation.min_sqnr is not a number", "20"),
        ('name = "a\n', "not valid TOML", None),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load_project(path)
    assert error.value.message.startswith(f"{path}: ")
    assert message in error.value.message
    assert error.value.exit_code == 2
    if hint is not None:
        assert hint in (error.value.hint or "")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("my-net", "my_net"),
        ("my net (2)", "my_net_2"),
        ("3d", "model_3d"),
        ("_x", "x"),
        ("größe", "gr_e"),
        ("日本", "model"),
        ("n" * 64, "n" * 63),
    ],
)
def test_a_name_that_c_cannot_have(tmp_path: Path, name: str, suggestion: str) -> None:
    with pytest.raises(UsageError, match="cannot name C files and arrays") as error:
        load_project(write(tmp_path, f'name = "{name}"\nmodel = "m"\n'))
    assert (error.value.hint or "").endswith(repr(suggestion))
    again = load_project(write(tmp_path, f'name = "{suggestion}"\nmodel = "m"\n'))
    assert again.name == suggestion == identifier(name)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file") as error:
        load_project(tmp_path / "edgeq.toml")
    assert error.value.hint == "'edgeq init MODEL' writes one"


# --- The template ----------------------------------------------------------------------------

IMAGE = [port("image", 1, 28, 32, 3)]
SCORES = [port("scores", 1, 10)]


def test_the_template_loads_and_has_the_models_own_facts(tmp_path: Path) -> None:
    text = project_template("my net", "../net.keras", IMAGE, SCORES)
    project = load_project(write(tmp_path, text))
    assert project.name == "my_net"
    assert project.model == tmp_path / "../net.keras"
    assert project.targets == ("host",)
    assert '#   input "image": float32 [1, 28, 32, 3]' in text
    assert '#   output "scores": float32 [1, 10]' in text
    assert "# image_size = [28, 32]" in text
    assert "# image_channels = 3  # RGB" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("inputs", [IMAGE, [port("a", 1, 20), port("b", 1, 4, 4, 3)]])
@pytest.mark.parametrize("scheme", [None, "int8"])
def test_the_template_loads_with_everything_uncommented(
    tmp_path: Path, inputs: list[Port], scheme: str | None
) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n", encoding="utf-8")
    text = uncommented(project_template("net", "net.tflite", inputs, SCORES, scheme=scheme))
    project = load_project(write(tmp_path, text))
    assert project.labels == ("cat", "dog")
    assert project.input.shapes == {p.name: p.tensor.shape for p in inputs}
    assert project.output_names == {"scores": "scores"}
    assert (project.calibration.samples is None) == (scheme is not None)
    if inputs is IMAGE:
        assert project.input.image_scaling and parse_scaling(project.input.image_scaling)
        assert project.evaluation.labels == str(tmp_path / "test.csv")
    else:
        assert project.input.image_size is None
    keys = {m for m in re.findall(r"^([a-z_]+) = ", text, re.M)}
    assert {"targets", "output", "labels", "output_names", "min_sqnr", "shapes"} <= keys


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((1, 28, 28, 1), True),
        ((1, 96, 96, 3), True),
        ((1, 49, 10, 1), True),
        ((1, 28, 28, 8), False),
        ((1, 4, 28, 1), False),
        ((1, 3, 28, 28), False),
        ((1, 784), False),
    ],
)
def test_image_settings_are_suggested_for_images_only(shape: tuple[int, ...], image: bool) -> None:
    text = project_template("net", "net.keras", [port("x", *shape)], SCORES)
    assert ("image_scaling" in text) == image


def test_what_it_took_to_open_the_model_is_set(tmp_path: Path) -> None:
    text = project_template(
        "net",
        "net",
        IMAGE,
        SCORES,
        shapes={"image": (1, 28, 32, 3)},
        signature_key="serve",
        allow_lambda=True,
    )
    project = load_project(write(tmp_path, text))
    assert project.input.shapes == {"image": (1, 28, 32, 3)}
    assert (project.signature_key, project.allow_lambda) == ("serve", True)


def test_names_from_a_model_cannot_write_settings(tmp_path: Path) -> None:
    """A hostile model's names end up in the file: quoted, on their own line."""
    hostile = 'x"\nallow_lambda = true\r\n\u2028[input]\x7f\x00'
    ports = [port(hostile, 1, 28, 28, 1)]
    text = project_template(hostile, hostile, ports, ports)
    assert tomllib.loads(text)["model"] == hostile
    assert tomllib.loads(text).keys() == {
        "name", "model", "targets", "input", "calibration", "evaluation", "limits"
    }  # fmt: skip
    assert not any(line.startswith("allow_lambda") for line in text.splitlines())


def test_a_path_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        project_template("net", "net\udcff.keras", IMAGE, SCORES)


def test_the_document_describes_every_key() -> None:
    text = (ROOT / "docs" / "project.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    full = tomllib.loads(FULL)
    keys = {k for k, v in full.items() if not isinstance(v, dict) or k == "output_names"}
    keys |= {k for s in ("input", "calibration", "evaluation") for k in full[s]}
    keys |= {field.name for field in dataclasses.fields(DeviceSettings)}
    assert rows == keys


def test_the_documents_example_loads(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "project.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.+?)```", text, re.S)
    assert example
    assert load_project(write(tmp_path, example[1])).name == "digits"


# --- edgeq init ------------------------------------------------------------------------------


def tflite(dtype: str = "float32") -> bytes:
    """A model of one RELU on an image."""
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str) -> Any:
        made = schema.TensorT()
        made.name = name.encode()
        made.shape = np.array([1, 28, 28, 1], np.int32)
        made.type = getattr(schema.TensorType, dtype.upper())
        made.buffer = 0
        if dtype == "int8":
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.array([0.5], np.float32)
            made.quantization.zeroPoint = np.array([0], np.int64)
        return made

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    op = schema.OperatorT()
    op.inputs, op.outputs = np.array([0], np.int32), np.array([1], np.int32)
    subgraph = schema.SubGraphT()
    subgraph.tensors = [tensor("image"), tensor("scores")]
    subgraph.inputs, subgraph.outputs, subgraph.operators = op.inputs, op.outputs, [op]
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes, model.subgraphs, model.buffers = [code], [subgraph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my-net.tflite").write_bytes(tflite())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_a_file_that_loads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "my-net.tflite"]) == 0
    streams = capsys.readouterr()
    assert streams.out == "edgeq.toml: written for my_net\n"
    assert f"set [calibration] data in it, then run 'edgeq build' in {folder}" in streams.err
    project = load_project(folder / "edgeq.toml")
    assert (project.name, project.model) == ("my_net", folder / "my-net.tflite")
    assert "# image_size = [28, 28]" in (folder / "edgeq.toml").read_text(encoding="utf-8")
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


def test_init_with_a_name_of_ones_own(folder: Path) -> None:
    assert run(["init", "my-net.tflite", "--name", "other"]) == 0
    assert load_project(folder / "edgeq.toml").name == "other"


def test_init_elsewhere_points_back_to_the_model(folder: Path) -> None:
    (folder / "project").mkdir()
    assert run(["init", "my-net.tflite", "-o", "project/edgeq.toml"]) == 0
    project = load_project(folder / "project" / "edgeq.toml")
    assert project.model.resolve() == (folder / "my-net.tflite").resolve()
    assert 'model = "../my-net.tflite"' in project.source.read_text(encoding="utf-8")


def test_init_of_a_quantized_model_asks_for_no_calibration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "q.tflite").write_bytes(tflite("int8"))
    assert run(["init", "q.tflite"]) == 0
    assert "calibration" not in capsys.readouterr().err
    assert "quantized already (int8)" in (folder / "edgeq.toml").read_text(encoding="utf-8")


def test_init_overwrites_only_when_forced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, "mine")
    assert run(["init", "my-net.tflite"]) == 2
    assert "hint:  --force replaces it" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "mine"
    assert run(["init", "my-net.tflite", "--force"]) == 0
    assert load_project(path).name == "my_net"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["init"], 2, "Missing argument 'MODEL'"),
        (["init", "none.keras"], 1, "none.keras: No such file"),
        (["init", "my-net.tflite", "-o", "none/edgeq.toml"], 1, "cannot be written"),
        (["init", "my-net.tflite", "--input-shape", "image"], 2, "not understood"),
        (["init", "my-net.tflite", "--input-shape", "image=1,N"], 2, "not understood"),
        (["init", "my-net.tflite", "--input-shape", "image=1,8,8,1"], 1, "--input-shape is for"),
    ],
)
def test_init_refuses(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    assert run(arguments) == code
    assert message in capsys.readouterr().err
    assert not (folder / "edgeq.toml").exists()
