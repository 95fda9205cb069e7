"""The channels of a network: which belong together, what each can be, which can go."""

from edgeq.channels.costs import MEASURES, Costs, choose, smallest
from edgeq.channels.network import Network, Step, Ties, ties_of
from edgeq.channels.values import Dead, dead_of, intervals_of

__all__ = [
    "MEASURES",
    "Costs",
    "Dead",
    "Network",
    "Step",
    "Ties",
    "choose",
    "dead_of",
    "intervals_of",
    "smallest",
    "ties_of",
]
