"""A folder of reference values, and the check of our code against one of its cases.

Shapes come from the folder alone: any folder of this format can be checked.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from deepsight.architecture import Architecture
from deepsight.convert import load_network, model_config, read_original
from deepsight.objectives_of_run import Objectives
from deepsight.original_names import OBJECTIVE_NORMS, our_name
from deepsight.plug_ins import objectives
from deepsight.training.step import accumulate_gradients

AGGREGATORS = {"AVG": "average", "DECAY": "decay", "DECAY_W_NORMALIZE": "normalized_decay"}
MERGES = {"EQUAL": "equal", "CONTEXT_SIZE": "context_size", "NONE": "future_only"}
NORMS = {"PRE_AGGR": "before", "POST_AGGR": "after", "BOTH": "both", "NONE": "none"}
DISTANCES = {"MSE": "mse", "COSINE": "cosine", "LOG_COSINE": "log_cosine"}

LOSS_TOLERANCE = {"atol": 2e-5, "rtol": 0.0}
GRADIENT_TOLERANCE = {"atol": 0.0, "rtol": 1e-4}
LOGITS_TOLERANCE = {"atol": 1e-5, "rtol": 0.0}

Case = dict[str, Any]


def reference_folder() -> Path:
    """Return the folder that DEEPSIGHT_REFERENCE names, or the one beside the repository."""
    repository = Path(__file__).parents[2]
    return Path(os.environ.get("DEEPSIGHT_REFERENCE") or repository.parent / "shared" / "reference")


def case_name(case: Case) -> str:
    return "-".join(str(case[key]) for key in ("layer_norm", "aggregation", "present_future", "distance"))


@dataclass(frozen=True)
class Reference:
    """What a folder holds."""

    folder: Path
    config: dict[str, int]
    cases: list[Case]

    @classmethod
    def read(cls, folder: Path) -> Reference:
        content = json.loads((folder / "deepsight.json").read_text(encoding="utf-8"))
        return cls(folder, content["config"], content["cases"])

    def data(self, system: str) -> dict[str, Tensor]:
        """Return the tensors of a weight file that are data, without the underscores before their names."""
        tensors = load_file(self.folder / f"{system}.safetensors")
        return {name[2:]: tensor for name, tensor in tensors.items() if name.startswith("__")}

    def model(self, system: str) -> tuple[Architecture, dict[str, Tensor]]:
        """Return the converted network in training mode and without gradients, and the norms of the objective."""
        model, norms = _converted(
            self.folder / f"{system}.safetensors", self.config["heads"], self.config["cross_heads"]
        )
        model.zero_grad(set_to_none=True)
        return model, norms

    def objectives(self, case: Case, model: Architecture, norms: dict[str, Tensor]) -> Objectives:
        """Return the objective of a case with the converted norms."""
        spec = objectives.resolve(
            {
                "name": "future_context",
                "n": self.config["n"],
                "aggregator": AGGREGATORS[case["aggregation"]],
                "merge": MERGES[case["present_future"]],
                "norm": NORMS[case["layer_norm"]],
                "distance": DISTANCES[case["distance"]],
            }
        )
        built = Objectives([{"coefficient": 1.0, **spec}], model.shape, seed=0)
        part = built.parts["future_context"]
        part.load_state_dict({name: norms[name] for name in part.state_dict()})
        return built


@functools.lru_cache(maxsize=2)
def _converted(file: Path, heads: int, cross_heads: int) -> tuple[Architecture, dict[str, Tensor]]:
    """No check changes a weight, so that all cases of a folder can have one network."""
    network, norms = read_original(file)
    return load_network(network, model_config(network, heads, cross_heads)).train(), norms


def check_logits(reference: Reference, system: str) -> None:
    """Compare the logits of `deepsight` or `baseline` with the stored ones."""
    model, _ = reference.model(system)
    data = reference.data(system)
    with torch.no_grad():
        assert_close(model.logits(data["tokens"]), data["logits"], **LOGITS_TOLERANCE)


def check_baseline_loss(reference: Reference) -> None:
    """Compare the baseline's cross-entropy with the stored one."""
    model, _ = reference.model("baseline")
    data = reference.data("baseline")
    nothing = Objectives([], model.shape, seed=0)
    metrics = accumulate_gradients(model, nothing, data["tokens"], data["targets"], seed=0, step=0)
    assert_close(metrics["next_token"], data["cross_entropy"].squeeze(), **LOSS_TOLERANCE)


def check_case(reference: Reference, case: Case) -> None:
    """Compare losses and gradient norms of one case, as one training step gives them, with the stored ones."""
    model, norms = reference.model("deepsight")
    built = reference.objectives(case, model, norms)
    data = reference.data("deepsight")
    metrics = accumulate_gradients(model, built, data["tokens"], data["targets"], seed=0, step=0)
    planning, cross_entropy = metrics["future_context/loss"], metrics["next_token"]
    found = {"planning_loss": planning, "cross_entropy": cross_entropy, "total": planning + cross_entropy}
    for key, value in found.items():
        assert_close(value.item(), case[key], **LOSS_TOLERANCE, msg=lambda text, key=key: f"{key}: {text}")
    for name, expected in case["grad_norms"].items():
        gradient = _parameter(name, model, built).grad
        assert gradient is not None, name
        assert_close(gradient.norm().item(), expected, **GRADIENT_TOLERANCE, msg=lambda text, n=name: f"{n}: {text}")


def _parameter(original: str, model: Architecture, built: Objectives) -> Tensor:
    module, _, kind = original.rpartition(".")
    if module in OBJECTIVE_NORMS:
        return built.parts["future_context"].get_parameter(f"{OBJECTIVE_NORMS[module]}.{kind}")
    return model.get_parameter(our_name(original))
