"""Engine aot: a network compiled to C, to be linked with runtime/kernels.

compiler.py puts it together, pruning.py takes out channels that cannot matter, source.py writes
the text; an emitter for each operator, in a module for each family, chooses the kernel and packs
its constants. runtime/kernels/README.md says how to add one.
"""

from __future__ import annotations

from edgeq.codegen.aot.compiler import Compiled, Footprint, compile_graph, footprint
from edgeq.codegen.aot.pruning import kept_channels

__all__ = ["Compiled", "Footprint", "compile_graph", "footprint", "kept_channels"]
