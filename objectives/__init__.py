"""Objectives and their parts: each is registered under a name, and anyone's plug-in stands beside ours.

No module in this package may be called like a registry: importing it would put it in the registry's place here.
"""

from deepsight.plug_ins import aggregators, distances, merges, objectives

__all__ = ["aggregators", "distances", "merges", "objectives"]
