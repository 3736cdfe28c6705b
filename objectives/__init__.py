"""Objectives and their parts: each is registered under a name, and anyone's plug-in stands beside ours.

No module in this package may be called like a registry: importing it would put it in the registry's place here.
"""

from deepsight.objective import Objective, SequentialObjective, Term
from deepsight.plug_ins import aggregators, distances, merges, normalisers, objectives, predictors, targets

__all__ = [
    "Objective",
    "SequentialObjective",
    "Term",
    "aggregators",
    "distances",
    "merges",
    "normalisers",
    "objectives",
    "predictors",
    "targets",
]
