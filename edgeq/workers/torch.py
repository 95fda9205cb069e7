"""PyTorch in a child process: an exported program, or a person's own module, to a float .tflite."""

from __future__ import annotations

import re
import runpy
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils import _pytree as pytree

from edgeq.errors import ConversionError, ModelError
from edgeq.frameworks import Exported
from edgeq.repairs import Repair
from edgeq.workers.layouts import TO_FIRST, TO_LAST, fixed, is_image, moved, refuse_unused

Arrays = tuple[NDArray[Any], ...]

_GELU = torch.ops.aten.gelu.default
_EXAMPLES = 4
_SEED = 20260101


class Session:
    """One model at a time: the one that export() opened last is what run() computes."""

    def __init__(self) -> None:
        warnings.filterwarnings("ignore")
        torch.manual_seed(0)
        self._repaired: _Flat | None = None
        self._original: _Flat | None = None
        self._example: Arrays = ()

    def export(
        self,
        path: str,
        function: str | None,
        input_shapes: dict[str, tuple[int, ...]],
        repairs: frozenset[str],
    ) -> Exported:
        """The program at `path`, or the module that `function` of the Python file there makes.

        Raises ModelError and ConversionError.
        """
        program = _made_by(Path(path), function) if function else _loaded(Path(path))
        name = Path(path).name
        inputs = _inputs(program, name)
        refuse_unused(input_shapes, list(inputs))
        shapes = [
            fixed(n, [s if isinstance(s, int) else None for s in v.shape], input_shapes)
            for n, v in inputs.items()
        ]
        kinds = [v.dtype for v in inputs.values()]
        example = _example(program, shapes, kinds)
        layers = _layers(program, _GELU)
        done = []
        repaired = program
        if layers and "gelu" in repairs:
            repaired = program.run_decompositions({_GELU: _gelu})
            what = "GELU as x * sigmoid(1.702 x)"
            done.append(Repair("gelu", what, layers, largest_error=0.0))
        firsts = [is_image(s) for s in shapes]
        self._original = _Flat(program, firsts)
        self._repaired = _Flat(repaired, firsts) if done else self._original
        self._example = tuple(
            moved(e.numpy(), TO_LAST if f else None) for e, f in zip(example, firsts, strict=True)
        )
        try:
            self._original(*map(torch.from_numpy, self._example))
        except Exception as e:
            raise ModelError(
                f"{name}: does not run on inputs of its own shapes: {_text(e)}",
                hint="export it again with example inputs of the shapes that it is used with",
            ) from e
        tflite = _convert(self._repaired, self._example, name)
        return Exported(
            tflite,
            tuple(inputs),
            tuple(self._original.names),
            f"litert-torch {litert_torch.__version__}",
            tuple(done),
        )

    def examples(self) -> list[Arrays]:
        """The source's example inputs, and random ones like them, as the .tflite has them."""
        random = np.random.default_rng(_SEED)
        made = [self._example]
        for _ in range(_EXAMPLES - 1):
            made.append(tuple(_like(e, random) for e in self._example))
        return made

    def run(self, batch: Sequence[Arrays]) -> list[tuple[Arrays, Arrays]]:
        """The outputs of what was exported, and of the source, for each sample."""
        assert self._original is not None and self._repaired is not None
        results = []
        for sample in batch:
            tensors = [torch.from_numpy(np.array(v)) for v in sample]
            exported = self._repaired.arrays(tensors)
            same = self._repaired is self._original
            results.append((exported, exported if same else self._original.arrays(tensors)))
        return results


class _Flat(torch.nn.Module):  # type: ignore[misc]
    """A program on flat lists of tensors, images with their channels last on both sides."""

    def __init__(self, program: Any, firsts: Sequence[bool]) -> None:
        super().__init__()
        self.inner = program.module(check_guards=False)
        self.spec = program.call_spec.in_spec
        self.firsts = list(firsts)
        self.kinds = [v.dtype for v in _inputs(program, "").values()]
        self.names: list[str] = []
        self.training = False

    def forward(self, *tensors: Any) -> Any:
        flat = [
            torch.permute(t, TO_FIRST) if first else t
            for t, first in zip(tensors, self.firsts, strict=True)
        ]
        args, kwargs = pytree.tree_unflatten(flat, self.spec)
        leaves = pytree.tree_flatten_with_path(self.inner(*args, **kwargs))[0]
        found = [(path, t) for path, t in leaves if isinstance(t, torch.Tensor)]
        self.names = _output_names([path for path, _ in found])
        return tuple(
            torch.permute(t, TO_LAST) if any(self.firsts) and t.ndim == 4 else t for _, t in found
        )

    def arrays(self, tensors: Sequence[Any]) -> Arrays:
        given = [t.to(k) for t, k in zip(tensors, self.kinds, strict=True)]
        with torch.no_grad():
            return tuple(t.numpy() for t in self(*given))


def _loaded(path: Path) -> Any:
    """The program in a .pt2 that pytorch_files.check_exported() has passed; pickles stay closed."""
    load = torch.load

    def plain(*args: Any, **options: Any) -> Any:
        return load(*args, **{**options, "weights_only": True})

    torch.load = plain
    try:
        program = torch.export.load(path)
    except Exception as e:
        raise ModelError(
            f"{path.name}: PyTorch {torch.__version__} cannot load it: {_text(e)}",
            hint="write it again with this version: torch.export.save(program, file)",
        ) from e
    finally:
        torch.load = load
    return program


def _made_by(path: Path, function: str) -> Any:
    """What the person's own function returns, exported: a module with an example input, or with a
    tuple of them, or a dictionary by name."""
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        found = runpy.run_path(str(path), run_name=f"edgeq_model_{path.stem}")
        make = found.get(function)
        made = make() if callable(make) else None
    except (Exception, SystemExit) as e:
        lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == str(path)]
        place = f" (line {lines[-1]})" if lines else ""
        raise ModelError(
            f"{path.name}: {type(e).__name__}: {_text(e)}{place}",
            hint="the error is in this file's own code",
        ) from e
    if make is None:
        raise ModelError(
            f"{path.name}: no function {function}()",
            hint="write one that returns the module and an example input",
        )
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module)):
        raise ModelError(
            f"{path.name}: {function}() returns no (module, example input)",
            hint="return net, torch.zeros(1, 3, 32, 32); several inputs as a tuple, or as a "
            "dictionary by name",
        )
    module, given = made
    args = given if isinstance(given, tuple) else () if isinstance(given, Mapping) else (given,)
    kwargs = dict(given) if isinstance(given, Mapping) else {}
    for value in pytree.tree_leaves((args, kwargs)):
        if not isinstance(value, torch.Tensor):
            raise ModelError(
                f"{path.name}: {function}() gives {type(value).__name__} as an example input",
                hint="give tensors, with a batch dimension of 1",
            )
    try:
        return torch.export.export(module.eval(), args, kwargs)
    except Exception as e:
        raise ConversionError(
            f"{path.name}: torch.export cannot capture the module: {_text(e)}",
            hint="control flow that depends on values has to go: "
            "https://docs.pytorch.org/docs/stable/export.html",
        ) from e


def _inputs(program: Any, name: str) -> dict[str, Any]:
    """Input name -> its fake tensor, in order."""
    wanted = program.graph_signature.user_inputs
    nodes = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    found = {}
    for user in wanted:
        if not isinstance(user, str) or not isinstance(nodes.get(user), torch.Tensor):
            raise ModelError(
                f"{name}: input {user!r} is no tensor",
                hint="export the model with tensors as its only inputs",
            )
        found[user] = nodes[user]
    return found


def _example(program: Any, shapes: Sequence[tuple[int, ...]], kinds: Sequence[Any]) -> list[Any]:
    """The program's own example where it has these shapes; else zeros, or seeded normal numbers."""
    stored = getattr(program, "example_inputs", None)
    leaves = pytree.tree_leaves(stored) if stored else []
    if [tuple(getattr(v, "shape", ())) for v in leaves] == list(shapes):
        return [v.detach().contiguous() for v in leaves]
    random = torch.Generator().manual_seed(_SEED)
    return [
        torch.randn(s, generator=random).to(k) if k.is_floating_point else torch.zeros(s, dtype=k)
        for s, k in zip(shapes, kinds, strict=True)
    ]


def _like(value: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Random numbers for floats; integers are often indices, and stay what they are."""
    if not np.issubdtype(value.dtype, np.floating):
        return value
    return random.standard_normal(value.shape).astype(value.dtype)


def _output_names(paths: Sequence[Any]) -> list[str]:
    names = []
    for path in paths:
        keys = [getattr(k, "key", getattr(k, "name", getattr(k, "idx", ""))) for k in path]
        text = "_".join(str(k) for k in keys)
        names.append(text if re.match(r"[A-Za-z]", text) else f"output_{text}".rstrip("_"))
    return names


def _layers(program: Any, target: Any) -> tuple[str, ...]:
    """The modules that call `target`, by their paths in the network."""
    found = []
    for node in program.graph.nodes:
        if node.target is target:
            stack = list(node.meta.get("nn_module_stack", {}).values())
            found.append(str(stack[-1][0]).removeprefix("L['self'].") if stack else node.name)
    return tuple(dict.fromkeys(found))


def _gelu(x: Any, approximate: str = "none") -> Any:
    return x * torch.sigmoid(1.702 * x)


def _convert(module: _Flat, example: Arrays, name: str) -> bytes:
    tensors = tuple(
        torch.from_numpy(np.array(e)).to(k) for e, k in zip(example, module.kinds, strict=True)
    )
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        file = Path(folder, "model.tflite")
        try:
            litert_torch.convert(module, tensors).export(str(file))
        except Exception as e:
            text = _text(e)
            unknown = sorted(set(re.findall(r"aten[.:]+(\w+)", text)))
            if unknown:
                raise ConversionError(
                    f"{name}: litert-torch {litert_torch.__version__} fails at the operator "
                    f"{', '.join(unknown)}: {text}",
                    hint="express that layer by other operators",
                ) from e
            raise ConversionError(
                f"{name}: litert-torch {litert_torch.__version__} failed: {text}",
                hint="an ONNX export of the same model may convert",
            ) from e
        return file.read_bytes()


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:600] or type(error).__name__
