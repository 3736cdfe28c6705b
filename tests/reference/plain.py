"""Folders of reference values written by the published systems in plain PyTorch (`benchmarks.original`).

It shares no line with the product, and the stored values hold it to the original, so a folder written by it is a
second witness, of any shape.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.original import PlainBaseline, PlainDeepSight, cross_entropy

AGGREGATIONS = ("AVG", "DECAY", "DECAY_W_NORMALIZE")
MERGES = ("EQUAL", "CONTEXT_SIZE", "NONE")
LAYER_NORMS = ("NONE", "PRE_AGGR", "POST_AGGR", "BOTH")
DISTANCES = ("MSE", "COSINE", "LOG_COSINE")
COMBINATIONS = list(itertools.product(LAYER_NORMS, AGGREGATIONS, MERGES, DISTANCES))


def computed_case(model: PlainDeepSight, data: dict[str, Tensor], case: dict[str, Any], n: int) -> dict[str, Any]:
    """Return losses and the gradient norm of every parameter that takes part."""
    model.zero_grad(set_to_none=True)
    embedded, encoded, logits = model(data["tokens"])
    planning = model.planning_loss(embedded, encoded, case, n)
    entropy = cross_entropy(logits, data["targets"])
    (planning + entropy).backward()
    return {
        "planning_loss": planning.item(),
        "cross_entropy": entropy.item(),
        "total": (planning + entropy).item(),
        "grad_norms": {
            name: weight.grad.norm().item() for name, weight in model.named_parameters() if weight.grad is not None
        },
    }


def write_folder(folder: Path, config: dict[str, int], seed: int) -> None:
    """Write `deepsight.json`, `deepsight.safetensors` and `baseline.safetensors` for random weights of any shape."""
    torch.manual_seed(seed)
    shape = (config["batch"], config["context"])
    data = {name: torch.randint(config["vocab_size"], shape) for name in ("tokens", "targets")}
    deepsight, baseline = PlainDeepSight(config), PlainBaseline(config)
    for weight in (*deepsight.parameters(), *baseline.parameters()):
        nn.init.normal_(weight, mean=0.0 if weight.ndim == 2 else 0.8, std=0.2)
    names = ("layer_norm", "aggregation", "present_future", "distance")
    chosen = [dict(zip(names, combination, strict=True)) for combination in COMBINATIONS]
    cases = [case | computed_case(deepsight, data, case, config["n"]) for case in chosen]
    (folder / "deepsight.json").write_text(json.dumps({"config": config, "cases": cases}), encoding="utf-8")
    with torch.no_grad():
        logits = deepsight(data["tokens"])[2]
        baseline_logits = baseline(data["tokens"])
        entropy = cross_entropy(baseline_logits, data["targets"]).reshape(1)
    _save(folder / "deepsight.safetensors", deepsight, {**data, "logits": logits})
    _save(folder / "baseline.safetensors", baseline, {**data, "logits": baseline_logits, "cross_entropy": entropy})


def _save(file: Path, model: nn.Module, data: dict[str, Tensor]) -> None:
    save_file({**model.state_dict(), **{f"__{name}": tensor for name, tensor in data.items()}}, file)
