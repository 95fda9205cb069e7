import itertools
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from make_model import Maker, tiny_float, tiny_int8
from PIL import Image

from edgeq.calibration import split, thin
from edgeq.errors import DataError, UsageError
from edgeq.images import ImageOptions, parse_scaling
from edgeq.samples import open_samples
from edgeq.tflite import read_graph
from edgeq.verification import check_labels

IMAGE = read_graph(tiny_int8()).inputs
VECTOR = read_graph(tiny_float()).inputs


def two_inputs():
    m = Maker()
    a, b, c = m.tensor("left", (1, 2)), m.tensor("right", (1, 2)), m.tensor("sum", (1, 2))
    m.op("ADD", [a, b], [c])
    return read_graph(m.bytes([a, b], [c])).inputs


def scores(classes):
    m = Maker()
    x, y = m.tensor("x", (1, classes)), m.tensor("y", (1, classes))
    m.op("ABS", [x], [y])
    return read_graph(m.bytes([x], [y]))


def test_an_npy_is_mapped_and_rows_get_a_batch(tmp_path):
    data = np.arange(40, dtype=np.float32).reshape(10, 4)
    np.save(tmp_path / "x.npy", data)
    samples = open_samples(tmp_path / "x.npy", VECTOR)
    assert len(samples) == 10
    assert np.array_equal(samples.get(3)[0], data[3:4])


def test_an_npy_far_larger_than_memory_opens_and_reads(tmp_path):
    path = tmp_path / "huge.npy"
    shape = (1 << 33, 4)  # 128 GiB of address space in a sparse file
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    mapped[1 << 32] = [1, 2, 3, 4]
    del mapped
    samples = open_samples(path, VECTOR)
    assert len(samples) == shape[0]
    assert samples.get(1 << 32)[0].tolist() == [[1, 2, 3, 4]]
    chosen, _ = split(samples.pick(range(0, 10_000)), 200)
    assert len(chosen) == 200


def test_an_npz_gives_arrays_by_input_name_in_the_model_s_order(tmp_path):
    np.savez(tmp_path / "x.npz", right=np.ones((3, 2)), left=np.zeros((3, 2)), labels=[0, 1, 2])
    samples = open_samples(tmp_path / "x.npz", two_inputs())
    left, right = samples.get(0)
    assert left.sum() == 0 and right.sum() == 2
    assert samples.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("form", [">f4", ">f8", ">i2", "<u8"])
def test_numbers_of_another_byte_order_or_width_are_the_same_numbers(tmp_path, form):
    data = np.arange(40).reshape(10, 4)
    np.save(tmp_path / "x.npy", data.astype(form))
    np.savez(tmp_path / "x.npz", x=np.asfortranarray(data.astype(form)))
    for name in ("x.npy", "x.npz"):
        (value,) = open_samples(tmp_path / name, VECTOR).get(3)
        assert value.dtype.isnative and value.tolist() == [[12, 13, 14, 15]]


def test_an_npy_in_columns_gives_rows(tmp_path):
    data = np.arange(40, dtype=np.float32).reshape(10, 4)
    np.save(tmp_path / "x.npy", np.asfortranarray(data))
    assert open_samples(tmp_path / "x.npy", VECTOR).get(3)[0].tolist() == [[12, 13, 14, 15]]


def test_only_the_arrays_that_count_are_unpacked(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 4)), notes=np.array(["a", None], object))
    with pytest.raises(DataError, match="no array for input 'left'"):
        open_samples(tmp_path / "x.npz", two_inputs())
    np.savez(tmp_path / "y.npz", x=np.ones((3, 4)), other=np.array(["a", None], object))
    assert open_samples(tmp_path / "y.npz", VECTOR).get(1)[0].tolist() == [[1, 1, 1, 1]]


def test_an_array_of_another_kind_in_memory_is_refused():
    for odd in ({"x": [[1, 2], [3]]}, {"x": 3.0}, {"x": np.full((2, 4), "a")}):
        with pytest.raises(DataError, match="array 'x'"):
            open_samples(odd, VECTOR)


def test_an_input_may_be_called_labels():
    m = Maker()
    a, b = m.tensor("labels", (1, 2)), m.tensor("y", (1, 2))
    m.op("RELU", [a], [b])
    samples = open_samples({"labels": np.ones((3, 2))}, read_graph(m.bytes([a], [b])).inputs)
    assert samples.labels is None and samples.get(0)[0].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    "labels", [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], [[0], [1], [1]],
               [[1, 0], [0, 1], [0, 1]]],
)  # fmt: skip
def test_labels_in_every_usual_form(labels):
    samples = open_samples({"x": np.zeros((3, 4)), "labels": np.array(labels)}, VECTOR)
    assert samples.labels.tolist() == [0, 1, 1]


def test_a_missing_array_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", left=np.zeros((3, 2)), wrong=np.zeros((3, 2)))
    with pytest.raises(DataError, match="no array for input 'right'"):
        open_samples(tmp_path / "x.npz", two_inputs())


def test_arrays_of_different_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 4)), labels=np.zeros(2, int))
    with pytest.raises(DataError, match="different lengths"):
        open_samples(tmp_path / "x.npz", VECTOR)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_pickles_are_never_loaded(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    payload = np.array([{"a": 1}], dtype=object)
    np.save(path, payload) if suffix == "npy" else np.savez(path, x=payload)
    with pytest.raises(DataError, match="pickled"):
        open_samples(path, VECTOR)


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_a_truncated_npz_is_refused(tmp_path, keep):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((3, 4)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError):
        open_samples(path, VECTOR)


def test_labels_may_be_called_y(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 4)), y=[2, 0, 1])
    assert open_samples(tmp_path / "x.npz", VECTOR).labels.tolist() == [2, 0, 1]


def test_an_input_called_y_is_no_label(tmp_path):
    np.savez(tmp_path / "x.npz", y=np.zeros((3, 4)))
    port = replace(VECTOR[0], name="y")
    assert open_samples(tmp_path / "x.npz", (port,)).labels is None


def test_one_hot_labels_become_classes(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 4)), labels=np.eye(3))
    assert open_samples(tmp_path / "x.npz", VECTOR).labels.tolist() == [0, 1, 2]


@pytest.fixture
def pictures(tmp_path):
    for kind, value in (("cat", 0), ("dog", 255)):
        (tmp_path / "pics" / kind).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (10, 12), (value,) * 3).save(tmp_path / "pics" / kind / f"{i}.png")
    return tmp_path / "pics"


def test_images_are_sized_and_scaled_and_folders_are_classes(pictures):
    options = ImageOptions(*parse_scaling("-1..1"))
    samples = open_samples(pictures, IMAGE, images=options)
    assert samples.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert samples.get(0)[0].shape == (1, 8, 8, 1)
    assert samples.get(0)[0].mean() == -1 and samples.get(5)[0].mean() == 1


def test_the_model_s_own_labels_say_which_folder_is_which_class(pictures):
    options = ImageOptions(*parse_scaling("0..1"))
    samples = open_samples(pictures, IMAGE, images=options, names=["fish", "dog", "cat"])
    assert samples.labels.tolist() == [2, 2, 2, 1, 1, 1]
    with pytest.raises(DataError, match="'cat' is none of the model's labels") as e:
        open_samples(pictures, IMAGE, images=options, names=["dog", "cats"])
    assert "did you mean cats" in e.value.hint


def test_folders_for_fewer_classes_than_the_model_has_are_no_guess(pictures):
    options = ImageOptions(*parse_scaling("0..1"))
    samples = open_samples(pictures, IMAGE, images=options)
    check_labels(samples.pick([0, 5]), scores(2))
    with pytest.raises(DataError, match="2 names of classes, and the model has 3") as e:
        check_labels(samples.pick([0, 5]), scores(3))
    assert "`labels` in edgeq.toml" in e.value.hint


def test_images_without_a_scaling_ask_for_it(pictures):
    with pytest.raises(UsageError, match="how pixels become numbers"):
        open_samples(pictures, IMAGE)


def test_a_csv_gives_image_classes(pictures, tmp_path):
    rows = "".join(
        f"{k}/{i}.png,{'b' if k == 'cat' else 'a'}\n" for k in ("cat", "dog") for i in range(3)
    )
    (tmp_path / "labels.csv").write_text(rows)
    options = ImageOptions(*parse_scaling("0..1"))
    samples = open_samples(pictures, IMAGE, images=options, labels=tmp_path / "labels.csv")
    assert samples.labels.tolist() == [1, 1, 1, 0, 0, 0]


def test_a_damaged_image_is_named(pictures):
    (pictures / "cat" / "1.png").write_bytes(b"\x89PNG nonsense")
    samples = open_samples(pictures, IMAGE, images=ImageOptions(0, 1))
    with pytest.raises(DataError, match="1.png: not a readable image"):
        samples.get(1)


def test_folders_named_by_class_numbers_keep_these(tmp_path):
    for kind in ("3", "7"):
        (tmp_path / "pics" / kind).mkdir(parents=True)
        Image.new("L", (8, 8), 9).save(tmp_path / "pics" / kind / "a.png")
    samples = open_samples(tmp_path / "pics", IMAGE, images=ImageOptions(0, 255))
    assert samples.labels.tolist() == [3, 7]


@pytest.mark.parametrize("odd", ["-1", "2.5"])
def test_a_class_that_is_neither_number_nor_name_is_refused(pictures, tmp_path, odd):
    rows = "\ufefffile,class\n" + "".join(f"{i}.png,{odd}\n" for i in range(3))
    (tmp_path / "labels.csv").write_text(rows)
    with pytest.raises(DataError, match="no class number"):
        open_samples(pictures, IMAGE, images=ImageOptions(0, 1), labels=tmp_path / "labels.csv")


def test_a_postscript_file_is_no_image(tmp_path):
    (tmp_path / "pics").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pics" / "a.eps")
    (tmp_path / "pics" / "a.eps").rename(tmp_path / "pics" / "a.png")
    samples = open_samples(tmp_path / "pics", IMAGE, images=ImageOptions(0, 1))
    with pytest.raises(DataError, match="not a readable image"):
        samples.get(0)


def test_an_image_that_pillow_warns_of_is_read_in_silence(tmp_path):
    (tmp_path / "pics").mkdir()
    palette = Image.new("P", (8, 8))
    palette.save(tmp_path / "pics" / "a.png", transparency=bytes([0, 255]))
    samples = open_samples(tmp_path / "pics", IMAGE, images=ImageOptions(0, 1))
    assert samples.get(0)[0].shape == (1, 8, 8, 1)


def test_an_image_of_16_bits_is_refused_and_not_clipped(tmp_path):
    (tmp_path / "pics").mkdir()
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "pics" / "a.png")
    samples = open_samples(tmp_path / "pics", IMAGE, images=ImageOptions(0, 1))
    with pytest.raises(DataError, match="more than 8 bits"):
        samples.get(0)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(DataError, match="no regular file"):
        open_samples(tmp_path / "x.npy", VECTOR)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0..1", (0, 255)), ("-1..1", (127.5, 127.5)), ("0..255", (0, 1)), ("12.5,4", (12.5, 4))],
)
def test_scaling_in_words(text, expected):
    assert parse_scaling(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "1..0", "a..b", "1", "0,0", "0..1..2"])
def test_scaling_that_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match="not understood"):
        parse_scaling(text)


@pytest.mark.parametrize("function", ["representative_dataset", "get_calibration_data"])
def test_a_python_file_yields_samples(tmp_path, function):
    (tmp_path / "data.py").write_text(
        f"import numpy as np\ndef {function}():\n"
        "    for i in range(7):\n        yield [np.full((1, 4), i, np.float32)]\n"
    )
    samples = open_samples(tmp_path / "data.py", VECTOR)
    assert len(samples) == 7
    assert samples.get(5)[0].tolist() == [[5, 5, 5, 5]]
    assert samples.get(2)[0].tolist() == [[2, 2, 2, 2]]


def test_a_named_function_and_dictionaries_work(tmp_path):
    (tmp_path / "data.py").write_text(
        "def mine():\n    yield {'right': [1.0, 2.0], 'left': [3.0, 4.0]}\n"
    )
    left, right = open_samples(f"{tmp_path}/data.py:mine", two_inputs()).get(0)
    assert left.tolist() == [[3, 4]] and right.tolist() == [[1, 2]]


def test_an_error_inside_a_python_file_is_said_to_be_its_own(tmp_path):
    (tmp_path / "data.py").write_text("def representative_dataset():\n    raise KeyError('x')\n")
    with pytest.raises(DataError, match="data.py: KeyError"):
        open_samples(tmp_path / "data.py", VECTOR)


def test_a_generator_without_end_is_read_as_far_as_is_asked(tmp_path):
    (tmp_path / "data.py").write_text(
        "import itertools\ndef representative_dataset():\n"
        "    return ([[i, 0, 0, 0]] for i in itertools.count())\n"
    )
    rows = ([[float(i)] * 4] for i in itertools.count())
    for source in (tmp_path / "data.py", lambda: iter(rows)):
        samples = open_samples(source, VECTOR, asked=4)
        assert len(samples) == 20 and samples.unread and samples.pick([1]).unread
    short = open_samples([[1.0, 2.0, 3.0, 4.0]], VECTOR, asked=4)
    assert not short.unread


def test_a_generator_without_end_is_an_error_when_all_is_asked(monkeypatch):
    monkeypatch.setattr("edgeq.samples.MAX_YIELDED", 50)
    with pytest.raises(DataError, match="yields over 50 samples"):
        open_samples(([[0.0] * 4] for _ in itertools.count()), VECTOR)


def test_a_data_file_runs_apart_from_us(tmp_path, capfd):
    (tmp_path / "helper.py").write_text("VALUE = 5.0\n")
    (tmp_path / "data.py").write_text(
        "import os, sys, helper\nprint('loading')\nos.chdir('/')\nsys.path.clear()\n"
        "def representative_dataset():\n    yield [helper.VALUE] * 4\n"
    )
    before = os.getcwd(), list(sys.path)
    assert open_samples(tmp_path / "data.py", VECTOR).get(0)[0].tolist() == [[5, 5, 5, 5]]
    assert (os.getcwd(), sys.path) == before
    out, err = capfd.readouterr()
    assert out == "" and "loading" in err
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix) == ["data.py", "helper.py"]


def test_a_file_that_does_not_load_in_time_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeq.samples.OPEN_LIMIT", 0.5)
    (tmp_path / "data.py").write_text("while True: pass\n")
    with pytest.raises(DataError, match="did not run to its generator within 0.5 s"):
        open_samples(tmp_path / "data.py", VECTOR)


def test_split_holds_out_every_fifth_and_spreads_the_rest():
    samples = open_samples(np.arange(400, dtype=np.float32).reshape(100, 4), VECTOR)
    chosen, held_out = split(samples, 20)
    used = {float(s[0][0, 0]) for s in chosen}
    kept = {float(s[0][0, 0]) for s in held_out}
    assert len(used) == 20 and len(kept) == 20 and not used & kept
    assert max(used) > 300  # Data sorted by class must not be cut to its first classes.


def test_thin_keeps_the_first_and_never_repeats():
    assert thin(range(10), 100) == list(range(10))
    assert thin(range(1000), 3) == [0, 333, 666]


def test_samples_come_from_memory_too():
    rows = [np.full((1, 4), i, np.float32) for i in range(5)]
    for source in (rows, (r for r in rows), lambda: iter(rows), [[r] for r in rows]):
        samples = open_samples(source, VECTOR)
        assert len(samples) == 5 and samples.get(3)[0].tolist() == [[3, 3, 3, 3]]


def test_zero_to_one_has_a_mean_without_a_sign():
    assert str(parse_scaling("0..1")[0]) == "0.0"
