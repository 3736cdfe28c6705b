"""The sibling's reference values in a folder, and the check of our code against one of its cases.

Shapes come from the folder alone: any folder of this format can be checked.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from deepsight.architecture import Architecture
from deepsight.convert import load_network, model_config, read_original, sibling_of
from deepsight.encoder_decoder import reads_next_position
from deepsight.objectives_of_run import Objectives
from deepsight.original_names import our_name
from deepsight.plug_ins import objectives
from deepsight.training.step import accumulate_gradients
from tests.reference.folder import DISTANCES, GRADIENT_TOLERANCE, LOSS_TOLERANCE, Case

SYSTEM = "encoder_decoder"
ORDERS = {"ORIGINAL": "self_first", "ALT": "cross_first"}
SUBTRACTIONS = {"NO": "none", "YES_NO_LN": "plain", "YES_LN": "normed"}
DETACHED = {"NONE": "none", "EMBEDDING": "target", "ENCODER_OUT": "prediction"}
NORMS = {"NONE": "none", "INIT": "before", "AVG_CUM_SUM": "after"}
GRADIENTS = {
    "grad_norm_embedding": "token_embedding.weight",
    "grad_norm_first_attention": "encoder_transformer_blocks.0.multi_attn_head.batch_attn_weights.weight",
}


def case_name(case: Case) -> str:
    network = [case["order"], case["sub"], *(key for key in ("addp", "lnff") if case[key])]
    if case["lossT"] == "NONE":
        return "-".join(network)
    return "-".join([*network, case["lossT"], case["det"], case["eln"], "ln" if case["useln"] else "no_ln"])


@dataclass(frozen=True)
class SiblingReference:
    """What a folder holds."""

    folder: Path
    config: dict[str, int]
    cases: list[Case]

    @classmethod
    def read(cls, folder: Path) -> SiblingReference:
        content = json.loads((folder / f"{SYSTEM}.json").read_text(encoding="utf-8"))
        return cls(folder, content["config"], content["cases"])

    def data(self) -> tuple[Tensor, Tensor]:
        """Return tokens and targets."""
        tensors = load_file(self.folder / f"{SYSTEM}.safetensors")
        return tensors["__tokens"], tensors["__targets"]

    def model(self, case: Case) -> tuple[Architecture, dict[str, Tensor]]:
        """Return the converted network of a case in training mode and without gradients, and the objective's norms."""
        said = (
            ("attention_order", ORDERS[case["order"]]),
            ("subtract_positions", SUBTRACTIONS[case["sub"]]),
            ("add_positions", case["addp"]),
            ("bridge_norm", case["lnff"]),
        )
        model, norms = _converted(self.folder / f"{SYSTEM}.safetensors", tuple(self.config.items()), said)
        model.zero_grad(set_to_none=True)
        return model, norms

    def objectives(self, case: Case, model: Architecture, norms: dict[str, Tensor]) -> Objectives:
        """Return the objective of a case, if it has any, with the converted norms."""
        if case["lossT"] == "NONE":
            return Objectives([], model.shape, seed=0)
        spec = {
            "name": "embedding",
            "norm": NORMS[case["eln"]],
            "prediction_norm": case["useln"],
            "detach": DETACHED[case["det"]],
            "distance": DISTANCES[case["lossT"]],
        }
        built = Objectives([{"coefficient": 1.0, **objectives.resolve(spec)}], model.shape, seed=0)
        part = built.parts["embedding"]
        part.load_state_dict({name: norms[name] for name in part.state_dict()})
        return built


@functools.lru_cache(maxsize=24)
def _converted(
    file: Path, shape: tuple[tuple[str, int], ...], said: tuple[tuple[str, Any], ...]
) -> tuple[Architecture, dict[str, Tensor]]:
    """No check changes a weight, so that all cases of a folder with equal settings can have one network."""
    (network, norms), of_folder = read_original(file), dict(shape)
    sibling = sibling_of(network, norms, dict(said))
    assert sibling is not None
    # One file serves all cases; a model that reads no next position has one row less.
    rows = of_folder["context"] + reads_next_position(sibling)
    network["embedding.position.weight"] = network["embedding.position.weight"][:rows]
    config = model_config(network, of_folder["heads"], of_folder["cross_heads"], sibling)
    assert config.context == of_folder["context"]
    return load_network(network, config).train(), norms


def check_case(reference: SiblingReference, case: Case) -> None:
    """Compare losses and gradient norms of one case, as one training step gives them, with the stored ones."""
    model, norms = reference.model(case)
    built = reference.objectives(case, model, norms)
    metrics = accumulate_gradients(model, built, *reference.data(), seed=0, step=0)
    found = {"cross_entropy": metrics["next_token"].item(), "total": sum(m.item() for m in losses(metrics))}
    if case["embedding_loss"] is not None:
        found["embedding_loss"] = metrics["embedding/loss"].item()
    for key, value in found.items():
        assert_close(value, case[key], **LOSS_TOLERANCE, msg=lambda text, key=key: f"{key}: {text}")
    for key, name in GRADIENTS.items():
        gradient = model.get_parameter(our_name(name)).grad
        assert gradient is not None, name
        assert_close(
            gradient.norm().item(), case[key], **GRADIENT_TOLERANCE, msg=lambda text, key=key: f"{key}: {text}"
        )


def losses(metrics: dict[str, Tensor]) -> list[Tensor]:
    return [value for name, value in metrics.items() if name in ("next_token", "embedding/loss")]
