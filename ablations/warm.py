"""What every trial's process would import or find out anew: done once, in the template that they are forked from.

Nothing here may start a thread or touch a device: a process cannot be forked safely after that.
"""

from __future__ import annotations

import contextlib
import importlib

import torch

import ablations.trial
import deepsight.cli.app
from deepsight.plug_ins import REGISTRIES
from deepsight.training.provenance import provenance

__all__ = ["ablations", "deepsight"]

OWN_PACKAGE = "deepsight "
# torch's optimisers import the first when one is made, linear_cross_entropy the second when it is first called.
LATE_IMPORTS = ("torch._dynamo", "torch.nn.modules.linear_cross_entropy")

for name in LATE_IMPORTS:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
for registry in REGISTRIES:
    for component in registry.names():
        if (registry.package_of(component) or "").startswith(OWN_PACKAGE):
            registry[component]
provenance(torch.device("cpu"))
