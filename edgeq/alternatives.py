"""One network in all integer forms that a search may choose among."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgeq.conversion import Conversion, convert
from edgeq.equalization import NAME as EQUALIZATION
from edgeq.errors import ConversionError
from edgeq.graph import Graph
from edgeq.models import tensorflow_session
from edgeq.pipeline import Data, Opening, Prepared, Progress, prepare


@dataclass(frozen=True)
class Alternatives:
    """What prepare() makes of one float model, `by_scheme`, and `failed`, why there is none.

    `plain` is the int8 whose single layers can become int16x8, `parts` the int16x8 that these are
    taken from, None where there is none.
    """

    by_scheme: Mapping[str, Prepared]
    failed: Mapping[str, str]
    plain: Prepared
    parts: Conversion | None


def prepare_alternatives(
    source: str | Path,
    *,
    opening: Opening | None = None,
    data: Data | None = None,
    problems: Callable[[Graph], int],
    progress: Progress | None = None,
) -> Alternatives:
    """Open `source`, calibrate it on `data` and convert it to int8 and to int16x8.

    `problems` is as for prepare(). Raises ConversionError when the model is quantized already or
    cannot become int8, DataError without calibration data.
    """
    opening, failed, parts = opening or Opening(), {}, None
    with tensorflow_session() as session:

        def prepared(opening: Opening, scheme: str | None) -> Prepared:
            return prepare(
                source,
                opening=opening,
                data=data,
                scheme=scheme,
                problems=problems,
                tensorflow=session,
                progress=progress,
            )

        int8 = prepared(opening, None)
        if int8.model.is_quantized:
            raise ConversionError(
                f"{int8.model.source} is quantized already, as {int8.model.scheme}: there is "
                "nothing to tune",
                hint="start from the float model",
            )
        made, plain = {"int8": int8}, int8
        if any(repair.name == EQUALIZATION for repair in int8.repairs):
            unscaled = replace(opening, repairs=opening.repairs - {EQUALIZATION})
            plain = prepared(unscaled, "int8")
        try:
            made["int16x8"] = prepared(opening, "int16x8")
            parts = convert(
                plain.model,
                plain.calibration,
                "int16x8",
                repairs=opening.repairs - {EQUALIZATION},
                tensorflow=session,
            )
        except ConversionError as e:
            failed["int16x8"] = e.message
    return Alternatives(made, failed, plain, parts)
