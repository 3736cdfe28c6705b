"""The A/A control: the reference with something inert beside it, bit-equal in everything that both have."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ablations.plan import Plan
from deepsight.config import RunConfig
from deepsight.errors import UserError
from deepsight.plug_ins import objectives as registry
from deepsight.trace import Place, Shape, Trace
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.loop import Trainer
from deepsight.training.metrics import read_metrics
from deepsight.training.names import CHECKPOINT_FILE, INITIAL_WEIGHTS_FILE, METRICS_FILE, RESULT_FILE
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import planned, study_data, write_study
from tests.models import EVERY_ARCHITECTURE
from tests.runs import source_of, write_text

CONTROL = "A/A control"
CLIP = 0.05
STEPS = 5
BASE = {
    "base__model__dropout": 0.2,
    "base__training__gradient_clip": CLIP,
    "base__training__steps": STEPS,
    "base__runtime__log_every": 1,
    "base__runtime__micro_batch_size": 3,
}


@pytest.fixture(autouse=True)
def _registry_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_components", dict(registry._components))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"), documents=8)


def controlled(folder: Path, text: Path, **changes: Any) -> Plan:
    data = study_data(text, **BASE, **changes) | {"control": True, "seeds": [3]}
    return planned(write_study(folder / "study.yaml", data))


def trained(config: RunConfig, folder: Path) -> dict[str, Any]:
    """Run a trial and return everything that another one can be compared with."""
    folder.mkdir(parents=True)
    trainer = Trainer(config, source_of(config), folder)
    seen: list[str] = []

    def look(_: nn.Module, __: Any, trace: Trace) -> None:
        # Dropout acts before the first state and after every layer.
        for state in (trace.input_embeddings, *trace.layers, trace.decoder_output):
            seen.append(hashlib.sha256(state.detach().numpy().tobytes()).hexdigest())

    trainer.model.register_forward_hook(look)
    assert trainer.run() is not None
    result = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    return {
        "initial weights": json.loads((folder / INITIAL_WEIGHTS_FILE).read_text(encoding="utf-8")),
        "batches": {"digest": result["batch_digest"]},
        "states": dict(enumerate(seen)),
        "weights": {name: value.numpy().tobytes() for name, value in read_checkpoint(folder / CHECKPOINT_FILE)
                    .part("model").items()},
        "rows": {
            (position, name): value
            for position, row in enumerate(read_metrics(folder / METRICS_FILE))
            for name, value in row.items()
            if name != "seconds"
        },
    }  # fmt: skip


def differences(reference: dict[str, Any], control: dict[str, Any]) -> list[str]:
    """Return what the reference has and the control has not, or not bit-equal."""
    return [
        f"{kind}: {name}"
        for kind, found in reference.items()
        for name, value in found.items()
        if control[kind].get(name) != value
    ]


def compared(plan: Plan, folder: Path, beside: dict[str, Any] | None = None) -> list[str]:
    """Run the reference and its control, or what stands in its place, and return their differences."""
    runs = {trial.arm: trial.config for trial in plan.trials}
    reference, control = runs[plan.study.reference], runs[CONTROL]
    if beside is not None:
        control = reference.model_copy(update={"objective": [*reference.objective, {"coefficient": 1.0, **beside}]})
    first = trained(reference, folder / "reference")
    norms = [value for (_, name), value in first["rows"].items() if name == "gradient_norm"]
    assert len(norms) == STEPS
    assert min(norms) > CLIP
    assert all(first.values())
    return differences(first, trained(control, folder / "control"))


CASES = [("deepsight", "none"), *((name, "future_context") for name in EVERY_ARCHITECTURE), ("baseline", "none")]


@pytest.mark.parametrize(("architecture", "objective"), CASES)
def test_the_control_is_bit_equal_to_the_reference(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, objective: str
) -> None:
    written = {"name": architecture, "prefix": 5} if architecture == "canonical" else architecture
    arms = {"one": {"objective": {"name": objective, "n": 3} if objective != "none" else "none"}}
    data = study_data(text, **BASE, base__model__architecture=written, reference="one")
    file = write_study(tmp_path / "study.yaml", data | {"control": True, "seeds": [3], "arms": arms})
    plan_quickly(monkeypatch)
    assert compared(planned(file), tmp_path / "runs") == []


def test_the_control_is_the_reference_and_one_objective_more(text: Path, tmp_path: Path) -> None:
    plan = controlled(tmp_path, text)
    reference, control = plan.study.arm("plain"), plan.study.arm(CONTROL)
    assert [arm.control for arm in plan.study.arms] == [False, False, True]
    assert control.settings == {"objective": "inert"}
    assert control.config == reference.config | {"objective": [{"name": "inert", "coefficient": 1.0}]}
    assert control.trials.keys() == reference.trials.keys()
    assert not {*control.trials.values()} & {*reference.trials.values()}
    assert control.inference_parameters == reference.inference_parameters
    assert (control.training_parameters, reference.training_parameters) == (16 * 16 + 16, 0)
    assert control.flops_per_token == reference.flops_per_token + 2 * 16 * 16
    without = planned(write_study(tmp_path / "without.yaml", study_data(text, **BASE) | {"seeds": [3]}))
    assert without.study.arms == plan.study.arms[:2]


def test_the_control_keeps_what_the_reference_has(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)
    arms = {"future": {"objective.n": 5, "training.weight_decay": 0.0}}
    control = controlled(tmp_path, text, reference="future", arms=arms).study.arm(CONTROL)
    assert [(spec["name"], spec.get("n")) for spec in control.config["objective"]] == [
        ("future_context", 5),
        ("inert", None),
    ]
    assert list(control.settings) == ["training.weight_decay", "objective"]
    assert [spec["name"] for spec in control.settings["objective"]] == ["future_context", "inert"]


def test_an_arm_may_not_have_the_controls_name(text: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"control: an arm is called 'A/A control', as the control would be; rename it"):
        controlled(tmp_path, text, arms={"plain": {}, CONTROL: {}})


class Parameters(nn.Module):
    """Not inert: its own parameter has a gradient, which counts where gradients are clipped."""

    attach: ClassVar[Place | None] = None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(shape.width))

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": self.scale.sum()}


class Touching(nn.Module):
    """Not inert: a millionth of something that the network can lower."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": 1e-6 * trace.attached.square().mean()}


class Writing(nn.Module):
    """Not inert: it nudges a weight after a step."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": trace.decoder_output.new_zeros(())}

    @torch.no_grad()
    def after_step(self, model: Any) -> None:
        model.embedding.token.weight[0, 0] += 1e-6


class Drawing(nn.Module):
    """Inert all the same: it seeds and draws from the global generator wherever it can, and streams are named."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.map = nn.Linear(shape.width, 2 * shape.width)

    def prepare(self, preparation: Any) -> None:
        torch.manual_seed(6)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        torch.manual_seed(int(torch.randint(9, ())))
        return {"loss": trace.decoder_output.new_zeros(())}

    def after_step(self, model: Any) -> None:
        torch.manual_seed(7)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (Parameters, {"states", "weights", "rows"}),
        (Touching, {"states", "weights", "rows"}),
        (Writing, {"states", "weights", "rows"}),
        (Drawing, set()),
    ],
)
def test_what_is_not_inert_would_be_seen(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module], seen: set[str]
) -> None:
    registry.register("other")(kind)
    plan_quickly(monkeypatch)
    found = compared(controlled(tmp_path, text), tmp_path / "runs", {"name": "other"})
    assert {name.partition(":")[0] for name in found} == seen


def test_random_numbers_without_streams_of_their_own_would_be_seen(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one generator for all purposes, what the inert objective draws moves the dropout after it."""
    plan_quickly(monkeypatch)
    plan = controlled(tmp_path, text)
    runs = {trial.arm: trial.config for trial in plan.trials}
    monkeypatch.setattr("deepsight.training.step.torch.manual_seed", lambda seed: None)
    found = []
    for arm in ("plain", CONTROL):
        torch.default_generator.manual_seed(0)
        found.append(trained(runs[arm], tmp_path / "runs" / arm.replace("/", "-")))
    assert {name.partition(":")[0] for name in differences(*found)} == {"states", "weights", "rows"}
