"""Numbers as C++ streams and printf write them, bounded."""

from __future__ import annotations

import math

FLOAT = r"[-+]?\d{1,40}(?:\.\d{1,40})?(?:e[-+]?\d{1,3})?|[-+]?(?:nan|inf)"
"""A double by operator<< or %f: 8779.68, 1.23457e+06, 1e-03, -nan."""

WHOLE = r"\d{1,19}"


def number(text: str | None) -> float | None:
    """`text`, which matches FLOAT, or None for what is no finite number."""
    value = math.nan if text is None else float(text)
    return value if math.isfinite(value) else None


def whole(text: str | None) -> int | None:
    return None if text is None else int(text)
