"""Where each activation, scratch buffer and state lies in the arena: a plan made at build time.

plan.py has the facts, planner.py makes a plan, checker.py proves it, drawing.py shows it.
"""

from __future__ import annotations

from edgeq.memory.checker import check_plan
from edgeq.memory.drawing import draw_svg, draw_text
from edgeq.memory.plan import ALIGNMENT, Buffer, MemoryPlan, Needs, Overlap
from edgeq.memory.planner import plan_memory

__all__ = [
    "ALIGNMENT",
    "Buffer",
    "MemoryPlan",
    "Needs",
    "Overlap",
    "check_plan",
    "draw_svg",
    "draw_text",
    "plan_memory",
]
