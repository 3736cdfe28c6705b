"""The probe of gradients: against autograd on the stored weights, before and after training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig
from deepsight.errors import UserError
from deepsight.evaluation.probes.asking import ask, obstacle
from deepsight.evaluation.probes.gradient_evidence import GradientEvidence
from deepsight.evaluation.probes.loading import load_subject
from deepsight.evaluation.probes.probe import Subject
from deepsight.loss import next_token_loss
from deepsight.plug_ins import probes
from deepsight.random_streams import derive
from deepsight.training.folder import RunFolder
from tests.runs import run_of, source_of, write_text

OBJECTIVES = [{"name": "future_context", "n": 3, "coefficient": 0.25}, {"name": "sequential_modules", "depth": 2}]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def trained(config: RunConfig, folder: Path) -> Path:
    assert RunFolder(folder).prepare(config, source_of(config)).run() is not None
    return folder


@pytest.fixture(scope="module")
def subject(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    config = run_of(text, objective=OBJECTIVES, model__dropout=0.3, training__steps=20)
    return load_subject(trained(config, tmp_path_factory.mktemp("runs") / "run"))


def by_autograd(subject: Subject, label: str, batches: list[Any], prefix: str) -> dict[str, float]:
    """Compare the gradients of two whole losses on the weights whose names begin so, batch by batch and summed."""
    weights = [weight for name, weight in subject.model.named_parameters() if name.startswith(prefix)]

    def flat(loss: torch.Tensor) -> np.ndarray:
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        parts = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
        return torch.cat([part.flatten() for part in parts]).double().numpy()

    pairs = []
    for batch in batches:
        trace = dataclasses.replace(subject.model(batch.inputs, batch.targets), later=batch.later)
        torch.manual_seed(derive(0, "objective", label, 0))
        loss = subject.objectives.parts[label](subject.objectives.seen(label, trace))["loss"]
        own = flat(subject.objectives.coefficients()[label] * loss)
        pairs.append((own, flat(next_token_loss(subject.model(batch.inputs, batch.targets)))))

    def cosine(g: np.ndarray, n: np.ndarray) -> float:
        return float(g @ n / np.linalg.norm(g) / np.linalg.norm(n))

    norms = np.array([[np.linalg.norm(g), np.linalg.norm(n)] for g, n in pairs])
    shares, cosines = norms[:, 0] / norms.sum(axis=1), [cosine(g, n) for g, n in pairs]
    together = [np.sum([pair[side] for pair in pairs], axis=0) for side in (0, 1)]
    return {
        "norm": norms[:, 0].mean(), "next_token_norm": norms[:, 1].mean(), "share": shares.mean(),
        "cosine": float(np.mean(cosines)), "share_deviation": shares.std(ddof=1),
        "cosine_deviation": float(np.std(cosines, ddof=1)), "cosine_of_means": cosine(*together),
    }  # fmt: skip


@pytest.mark.parametrize("weights", ["trained", "untrained"])
@pytest.mark.parametrize("objective", [spec["name"] for spec in OBJECTIVES])
def test_numbers_are_those_of_autograd_on_each_loss_alone(subject: Subject, weights: str, objective: str) -> None:
    rows = GradientEvidence(batches=3, batch_size=4).run(subject, lambda: None)["gradients"]
    windows = subject.source.windows(context=16, count=12, later=subject.objectives.lookahead)
    about = subject
    if weights == "untrained":
        model, objectives = build_model(subject.config), build_objectives(subject.config, subject.model.shape)
        about = dataclasses.replace(subject, model=model.eval(), objectives=objectives.eval())
    for layer, prefix in (("embedding", "embedding."), ("encoder layer 1", "encoder.0."), ("all layers", "")):
        (row,) = [
            row for row in rows if (row["weights"], row["objective"], row["layer"]) == (weights, objective, layer)
        ]
        expected = by_autograd(about, objective, list(windows.batches(4)), prefix)
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=2e-4, abs=2e-5)
        size = sum(w.numel() for name, w in subject.model.named_parameters() if name.startswith(prefix))
        assert row["parameters"] == size


def test_rows_are_complete_and_do_not_change(subject: Subject) -> None:
    calls: list[int] = []
    probe = GradientEvidence(batches=2, batch_size=3)
    tables = probe.run(subject, lambda: calls.append(1))
    assert len(calls) == 4
    assert tables == probe.run(subject, lambda: None)
    json.dumps(tables, allow_nan=False)
    rows = tables["gradients"]
    layers = ["embedding", "encoder layer 1", "bridge", "decoder layer 1", "final norm", "all layers"]
    assert [(row["weights"], row["objective"], row["layer"]) for row in rows] == [
        (weights, spec["name"], layer) for weights in ("untrained", "trained") for spec in OBJECTIVES
        for layer in layers
    ]  # fmt: skip
    future = {row["layer"]: row for row in rows if row["objective"] == "future_context"}
    # The future loss reads the encoder: nothing of it reaches what comes after.
    assert [future[layer]["share"] for layer in ("bridge", "decoder layer 1", "final norm")] == [0.0] * 3
    assert future["bridge"]["cosine"] is future["bridge"]["cosine_of_means"] is None
    assert not subject.model.training
    assert all(weight.grad is None for weight in subject.model.parameters())
    one = GradientEvidence(batches=1, batch_size=2).run(subject, lambda: None)["gradients"]
    assert {row["share_deviation"] for row in one} == {None}


def test_a_coefficient_that_has_ended_leaves_no_gradient(text: Path, tmp_path: Path) -> None:
    schedule = {"start": 0.5, "schedule": "off_after", "share": 0.5}
    folder = trained(run_of(text, objective={"name": "future_context", "n": 3, "coefficient": schedule}), tmp_path)
    rows = GradientEvidence(1, 4).run(load_subject(folder), lambda: None)["gradients"]
    found = {(row["weights"], row["coefficient"], row["share"]) for row in rows if row["layer"] == "encoder layer 1"}
    before, after = sorted(found)
    assert before == ("trained", 0.0, 0.0)
    assert after[:2] == ("untrained", 0.5)
    assert after[2] > 0


def test_myopic_runs_are_asked_of_their_own_gradients(text: Path, tmp_path: Path) -> None:
    spec = {"name": "multi_token", "n": 2}
    folders = [
        trained(run_of(text, objective=spec, training__steps=1, training__myopic=on), tmp_path / str(on))
        for on in (False, True)
    ]
    plain, of_myopic = (
        GradientEvidence(1, 4).run(load_subject(folder), lambda: None)["gradients"][1] for folder in folders
    )
    assert plain["layer"] == of_myopic["layer"] == "encoder layer 1"
    assert plain["next_token_norm"] != pytest.approx(of_myopic["next_token_norm"], rel=1e-3)


def test_it_is_registered_and_asked_like_any_other(subject: Subject, text: Path, tmp_path: Path) -> None:
    assert probes["gradient_evidence"].factory is GradientEvidence
    spec = probes.resolve({"name": "gradient_evidence", "batches": 1, "batch_size": 2})
    assert obstacle(spec, subject) is None
    plain = trained(run_of(text, objective="none", training__steps=1), tmp_path / "plain")
    assert obstacle(spec, load_subject(plain)) == (
        "this run has no objective beside next-token prediction, whose gradient could be compared"
    )
    folder = trained(run_of(text, training__steps=1, runtime__probes=[spec]), tmp_path / "run")
    answer, fresh = ask(folder, spec, lambda: load_subject(folder), lambda: None)
    assert not fresh
    assert answer.tables == GradientEvidence(1, 2).run(load_subject(folder), lambda: None)
    with pytest.raises(UserError, match=r"batches"):
        probes.resolve({"name": "gradient_evidence", "batches": 0})
