"""Models and bundles on devices: built where they are not yet, then measured or evaluated."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeq.benchmark import DEFAULTS, BenchOptions, bench
from edgeq.boards import (
    SAMPLE_LIMIT,
    AnyPlace,
    BoardEvaluation,
    BoardRun,
    Place,
    bench_board,
    check_time_limit,
    evaluate_board,
)
from edgeq.building import build
from edgeq.bundle import is_bundle, open_bundle
from edgeq.errors import DeviceError, EdgeqError, UsageError, VerificationError
from edgeq.link import Trace
from edgeq.measurement import Measurement, Results
from edgeq.pipeline import EVALUATION_SAMPLES, Data, Opening, evaluation_source
from edgeq.targets import Target, is_microcontroller

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]

Failed = Callable[[str, EdgeqError], None]
"""Called with the name of a target, or of a bundle, and what went wrong on it."""


@dataclass(frozen=True)
class Recipe:
    """How a model becomes a bundle where there is none yet: arguments of building.build().

    `output` is the folder that keeps the bundles; None for a temporary one.
    """

    output: Path | None = None
    scheme: str | None = None
    engine: str | None = None
    opening: Opening | None = None
    data: Data | None = None
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Runs:
    """What bench_all measured: on boards, and on this computer."""

    boards: tuple[BoardRun, ...]
    here: tuple[Measurement, ...]

    @property
    def results(self) -> Results:
        return Results((*(run.measurement for run in self.boards), *self.here))


def bench_all(
    sources: Sequence[str | Path],
    targets: Sequence[Target] = (),
    *,
    place: Place | None = None,
    recipe: Recipe | None = None,
    options: BenchOptions = DEFAULTS,
    baseline: str | Path | None = None,
    profile: bool = False,
    trace: Trace | None = None,
    notice: Notice | None = None,
    progress: Progress | None = None,
    failed: Failed | None = None,
) -> Runs:
    """Measure each of `sources`, bundles or models; with `targets`, one model on each of them.

    What is for a microcontroller runs on the board at `place`, everything else on this computer
    with LiteRT.
    Where there are several, one with wrong outputs or a device that fails is told to `failed`, and
    has no part in what is returned; without `failed` its error is raised, and nothing returned.
    """
    place = place or Place()
    for source in sources:
        _refuse_compiled_for_another(Path(source))
    if targets:
        boards = [target.core is not None for target in targets]
    else:
        boards = [_is_for_boards(Path(source), place) for source in sources]
    _check_options(boards, place, baseline, profile)
    recipe = recipe or Recipe()
    _check_targets(targets, place, recipe)
    on_boards: list[BoardRun] = []
    here: list[Measurement] = []
    paths = [Path(source) for source in sources]
    with bundles_of(paths, targets, recipe, notice, progress) as found:
        for (path, target), on_board in zip(found, boards, strict=True):
            try:
                if on_board:
                    on_boards.append(
                        bench_board(
                            path,
                            place,
                            target=target,
                            runs=options.num_runs,
                            warmup=options.warmup_runs,
                            profile=profile,
                            trace=trace,
                            notice=notice,
                            progress=progress,
                        )
                    )
                else:
                    here += bench(path, options, baseline=baseline, progress=progress).measurements
            except (DeviceError, VerificationError) as e:
                if failed is None or len(found) == 1:
                    raise
                failed(target.name if target else str(path), e)
    return Runs(tuple(on_boards), tuple(here))


def evaluate_on(
    source: str | Path,
    data: Data,
    *,
    target: Target | None = None,
    place: AnyPlace | None = None,
    recipe: Recipe | None = None,
    time_limit: float = SAMPLE_LIMIT,
    trace: Trace | None = None,
    notice: Notice | None = None,
    progress: Progress | None = None,
) -> BoardEvaluation:
    """boards.evaluate_board for a bundle, or for a model, which is built for `target` first."""
    check_time_limit(time_limit)
    evaluation_source(data)
    source, recipe = Path(source), recipe or Recipe()
    if recipe.data is None:
        recipe = replace(recipe, data=replace(data, evaluation_samples=EVALUATION_SAMPLES))
    targets = [target] if target else []
    if not targets and not is_bundle(source):
        raise UsageError(
            f"{source.name} is no bundle, so the device must be named",
            hint="--target NAME; edgeq targets lists them",
        )
    place = place or Place()
    if isinstance(place, Place):
        if target is not None and target.core is None:
            raise UsageError(
                f"{target.name} is no microcontroller, and has no firmware to run samples on",
                hint="--device says where it is (ssh:pi@raspberrypi, adb:auto); or leave out "
                "--target, --sim and --port: LiteRT runs the model on this computer",
            )
        _check_targets(targets, place, recipe)
    with bundles_of([source], targets, recipe, notice, progress) as found:
        path, described = found[0]
        return evaluate_board(
            path,
            data,
            place,
            target=described,
            time_limit=time_limit,
            trace=trace,
            notice=notice,
            progress=progress,
        )


@contextlib.contextmanager
def bundles_of(
    sources: Sequence[Path],
    targets: Sequence[Target],
    recipe: Recipe,
    notice: Notice | None,
    progress: Progress | None,
) -> Iterator[list[tuple[Path, Target | None]]]:
    """`sources` as they are, or what is built of the one among them for each of `targets`.

    With each its target where the caller knows it; what is built for nobody to keep is gone
    afterwards.
    """
    if not targets:
        yield [(source, None) for source in sources]
        return
    if len(sources) != 1:
        raise UsageError(
            f"--target builds one model, and here are {len(sources)}",
            hint="name one MODEL, or bundles without --target",
        )
    if is_bundle(sources[0]):
        yield [(sources[0], _own_target(sources[0], targets))]
        return
    with contextlib.ExitStack() as stack:
        output = recipe.output
        if output is None:
            output = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeq-build-")))
        built = build(
            sources[0],
            targets,
            output=output,
            scheme=recipe.scheme,
            engine=recipe.engine,
            opening=recipe.opening,
            data=recipe.data,
            labels=recipe.labels,
            progress=progress,
        )
        if notice:
            where = output if recipe.output is not None else "a temporary folder (-o keeps it)"
            notice(f"built for {', '.join(t.name for t in targets)} in {where}")
        yield [(b.folder, b.target) for b in built]


def _own_target(folder: Path, targets: Sequence[Target]) -> Target:
    """The one of `targets` that the bundle is for. Raises UsageError for any other."""
    name = str(open_bundle(folder).manifest["target"])
    if [t.name for t in targets] != [name]:
        raise UsageError(
            f"{folder} is a bundle for {name}, not for {', '.join(t.name for t in targets)}",
            hint="name the model, which is then built for each target, or leave out --target",
        )
    return targets[0]


def _check_targets(targets: Sequence[Target], place: Place, recipe: Recipe) -> None:
    """Before anything is built: whether each can be reached. This computer stands for no other."""
    for target in targets:
        if target.core is not None:
            place.check(target)
            if place.port is None and recipe.engine == "tflm":
                raise UsageError(
                    f"{target.name}: engine tflm makes sources for firmware of your own, and no "
                    "image that an emulator could run",
                    hint="leave out --engine, or name with --port the board that runs it",
                )
        elif target.transport != "local":
            raise UsageError(
                f"{target.name} is not this computer: say where it is",
                hint="--device adb:auto (a phone), ssh:pi@raspberrypi or console:PORT (a Pi); "
                "'edgeq devices' lists what there is",
            )


def _refuse_compiled_for_another(path: Path) -> None:
    """What LiteRT takes here says nothing of a network in C on a phone or a Pi."""
    if not is_bundle(path):
        return
    bundle = open_bundle(path).manifest
    if bundle["engine"] == "aot" and not is_microcontroller(str(bundle.get("family"))):
        raise UsageError(
            f"{path} is compiled for {bundle['target']}: say where that is",
            hint="--device adb:auto (a phone), ssh:pi@raspberrypi or console:PORT (a Pi), local; "
            "'edgeq devices' lists what there is",
        )


def _is_for_boards(path: Path, place: Place) -> bool:
    """Whether it is a microcontroller's bundle: what LiteRT takes here would say nothing of it."""
    if not is_bundle(path):
        return False
    named = place.port is not None or place.sim
    return named or is_microcontroller(str(open_bundle(path).manifest.get("family")))


def _check_options(
    boards: Sequence[bool], place: Place, baseline: str | Path | None, profile: bool
) -> None:
    """Refuse what would be left out in silence."""
    if place.port is not None and len(boards) > 1:
        raise UsageError(
            "one --port is one board, and there are several bundles to run",
            hint="run them one by one, or --sim for all",
        )
    for flag, given, fits in (
        ("--baseline", baseline is not None, not any(boards)),
        ("--profile", profile, all(boards)),
        ("--sim", place.sim, all(boards)),
        ("--port", place.port is not None, all(boards)),
    ):
        if given and not fits:
            where = "on this computer" if flag == "--baseline" else "on a board"
            raise UsageError(
                f"{flag} is for what runs {where}",
                hint="--target TARGET builds the model for one" if where == "on a board" else None,
            )
