"""The .tflite file format: reading it without trust, and the few edits that edgeq makes."""

from edgeq.tflite.reader import read_graph

__all__ = ["read_graph"]
