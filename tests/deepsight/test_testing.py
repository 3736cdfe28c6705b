"""The checks for plug-in authors: each finds the objective that was made to break it, and names its file and line."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deepsight import testing
from deepsight.errors import UserError
from deepsight.objective import Objective, SequentialObjective, Term
from deepsight.plug_ins import aggregators, distances, merges, normalisers, objectives, predictors, targets
from deepsight.testing import CHECKS, ContractError, ObjectiveContract, contract, outcomes, part_outcome
from deepsight.testing.inference_checks import check_inference_untouched, check_no_leak, check_noise_stays_noise
from deepsight.testing.objective_checks import (
    check_determinism,
    check_gradients,
    check_ignored_targets,
    check_loss,
    check_order_of_sequences,
)
from deepsight.testing.running_checks import check_checkpoint, check_counting
from deepsight.trace import IGNORED, Shape, Trace
from tests.typechecking import unchecked

COUNTER = itertools.count()


class Honest(Objective):
    """Predicts a fixed function of the next token from the state; keeps every rule."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head = nn.Linear(shape.width, 1)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        counts = trace.targets != IGNORED
        errors = (self.head(trace.attached)[..., 0] - trace.targets / 10).square() * counts
        return {"loss": errors.sum() / counts.sum().clamp_min(1)}


class MixesTheFutureIn(Honest):
    """Installs a hook on the network that lets each position see the next embedding."""

    def prepare(self, preparation: Any) -> None:
        preparation.model.embedding.register_forward_hook(lambda _, __, out: out + torch.roll(out, -1, dims=1))


class MixesTheFutureInWhileTraining(Honest):
    """The same, only in training mode."""

    def prepare(self, preparation: Any) -> None:
        def mix(module: nn.Module, _: Any, out: Tensor) -> Tensor | None:
            return out + torch.roll(out, -1, dims=1) if module.training else None

        preparation.model.embedding.register_forward_hook(mix)


class EditsTheTrace(Honest):
    """Writes into a state that the network still needs."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        with torch.no_grad():
            trace.encoder_output.add_(1.0)
        return super().forward(trace)


class EditsTheTraceInDiagnostics(Honest):
    """The same, where nobody looks."""

    def diagnostics(self, trace: Trace) -> dict[str, Tensor]:
        trace.decoder_output.mul_(2.0)
        return {}


class ChangesTheNetwork(Honest):
    """Sets the network's weights after a step."""

    def after_step(self, model: nn.Module) -> None:
        with torch.no_grad():
            next(iter(model.parameters())).mul_(0.99)


class FreezesTheNetwork(Honest):
    """Takes weights from training."""

    def prepare(self, preparation: Any) -> None:
        preparation.model.unembedding.requires_grad_(False)


class OwnsTheNetwork(Honest):
    """Registers a parameter of the network as its own."""

    def prepare(self, preparation: Any) -> None:
        self.borrowed = preparation.model.unembedding


class Nondeterministic(Honest):
    """Draws from a generator that no run seeds."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": super().forward(trace)["loss"] * (1 + random.random())}


class Remembers(Honest):
    """Counts its calls in what no checkpoint holds, and scales with them only while it trains the network."""

    steps = 0

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": super().forward(trace)["loss"] * (1 + self.steps)}

    def after_step(self, model: nn.Module) -> None:
        self.steps += 1


class DependsOnOrder(Honest):
    """Counts the first sequence of a batch twice."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": super().forward(trace)["loss"] + self.head(trace.attached[0]).square().mean()}


class DependsOnOrderAtRandom(DependsOnOrder):
    """The same, with random numbers over it."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": super().forward(trace)["loss"] * (1 + 0.01 * torch.rand(()))}


class RandomButFair(Honest):
    """Draws for each sequence by itself: another order gives another loss, but not on average."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        drawn = torch.rand(trace.targets.shape[0], 1)
        return {"loss": ((self.head(trace.attached)[..., 0] - 1).square() * drawn).mean()}


class NotScalar(Honest):
    """Leaves the mean to others."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": self.head(trace.attached)[..., 0].square()}


class NotFinite(Honest):
    """Divides nothing by nothing."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": super().forward(trace)["loss"] * float("nan")}


class MetricNotFinite(Honest):
    """Says a metric that is infinite."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return super().forward(trace) | {"surprise": torch.tensor(math.inf)}


class NoLoss(Honest):
    """Calls its loss something else."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"los": super().forward(trace)["loss"]}


class WrongShape(Honest):
    """Multiplies what does not fit."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": self.head(trace.attached[..., 1:]).mean()}


class Detached(Honest):
    """Teaches itself and not the network."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return super().forward(dataclasses.replace(trace, state=trace.attached.detach()))


class ElsewhereThanItIsPut(Honest):
    """Reads the decoder output wherever a run attaches it."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return super().forward(dataclasses.replace(trace, state=trace.decoder_output))


class IdleParameter(Honest):
    """Has weights that it forgets to use."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.unused = nn.Linear(2, 2)


class PlainMean(Honest):
    """Divides by the number of targets, which may be zero."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        counts = trace.targets != IGNORED
        errors = (self.head(trace.attached)[..., 0] - trace.targets).square()[counts]
        return {"loss": errors.reshape(trace.targets.shape[0], -1)[0].mean() if counts.all() else errors[9:].mean() / 0}


class LooksAtValues(Honest):
    """Needs to see a number, so that it cannot be counted without storage; which is allowed."""

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        scale = float(trace.attached.detach().abs().mean())
        return {"loss": super().forward(trace)["loss"] * (1.0 if scale > 0 else 2.0)}


class TermsAndLossDisagree(SequentialObjective):
    """Trains on its terms and reports something else."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head = nn.Linear(shape.width, 1)

    def terms(self, trace: Trace) -> Iterator[Term]:
        yield Term("one", self.head(trace.attached).square().mean(), 2.0)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": next(self.terms(trace)).loss}


class SaysItIsInert(nn.Module):
    inert = True

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": self.scale * trace.attached.mean()}


class SaysItIsInertWithALoss(nn.Module):
    inert = True

    def __init__(self, shape: Shape) -> None:
        super().__init__()

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        return {"loss": trace.attached.detach().square().mean()}


@pytest.fixture(autouse=True)
def _registries_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (aggregators, distances, merges, normalisers, objectives, predictors, targets):
        monkeypatch.setattr(registry, "_components", dict(registry._components))


def registered(kind: type[nn.Module]) -> str:
    name = f"constructed_{kind.__name__}"
    objectives.register(name)(kind)
    return name


@pytest.mark.parametrize(
    ("kind", "check", "said"),
    [
        (SaysItIsInert, check_gradients, "says that it is inert, and its loss has a gradient: it must be zero"),
        (SaysItIsInertWithALoss, check_gradients, "says that it is inert, and its loss is 0."),
        (MixesTheFutureIn, check_no_leak, "lets the logits at position 0 depend on tokens that come after it"),
        (MixesTheFutureIn, check_noise_stays_noise, "lets the network read the future: after 30 steps"),
        (MixesTheFutureIn, check_inference_untouched, "changes the network's logits in training"),
        (MixesTheFutureInWhileTraining, check_no_leak, "depend on tokens that come after it"),
        (MixesTheFutureInWhileTraining, check_noise_stays_noise, "lets the network read the future"),
        (EditsTheTrace, check_inference_untouched, "changes the trace that it reads, in place"),
        (EditsTheTraceInDiagnostics, check_inference_untouched, "changes the trace in its diagnostics: decoder_output"),
        (ChangesTheNetwork, check_inference_untouched, "changes the network's embedding.token.weight"),
        (FreezesTheNetwork, check_inference_untouched, "changes which of the network's parts train"),
        (
            OwnsTheNetwork,
            check_inference_untouched,
            "holds the network's parameter 'embedding.token.weight' as its own",
        ),
        (Nondeterministic, check_determinism, "for one trace and one seed: draw random numbers from torch's global"),
        (Remembers, check_checkpoint, "what it learns or remembers must be a parameter or a persistent buffer"),
        (DependsOnOrder, check_order_of_sequences, "for its sequences turned round"),
        (DependsOnOrderAtRandom, check_order_of_sequences, "on average over 64 draws"),
        (NotScalar, check_loss, "must return a scalar tensor 'loss', not one of shape (3, 16)"),
        (NotFinite, check_loss, "has a metric that is not finite: loss is nan"),
        (MetricNotFinite, check_loss, "has a metric that is not finite: surprise is inf"),
        (NoLoss, check_loss, "must return a dict with a tensor 'loss', not one with the keys ['los']"),
        (WrongShape, check_loss, "fails: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (Detached, check_gradients, "sends no gradient to the state at `attach: encoder`"),
        (ElsewhereThanItIsPut, check_gradients, "sends no gradient to the state at `attach: encoder`"),
        (IdleParameter, check_gradients, "has a parameter 'unused.weight' that its loss does not depend on"),
        (PlainMean, check_ignored_targets, "ignored, a metric that is not finite: loss is"),
        (TermsAndLossDisagree, check_loss, "has terms that add up to"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_breaks_the_contract_is_found(kind: type[nn.Module], check: Any, said: str) -> None:
    with pytest.raises((ContractError, UserError)) as caught:
        check(registered(kind))
    message = str(caught.value)
    assert said in message
    assert re.search(rf"{re.escape(__file__)}:\d+", message)
    assert "\n" not in message


@pytest.mark.parametrize("kind", [Honest, RandomButFair])
def test_what_keeps_the_contract_passes_all_of_it(kind: type[nn.Module]) -> None:
    # Shapes of the same passes are checked with the objectives of this project.
    with unchecked():
        found = list(outcomes({"name": registered(kind)}))
    assert [outcome.failure for outcome in found] == [None] * len(CHECKS)


def test_what_needs_storage_passes_and_says_so() -> None:
    note = check_counting(registered(LooksAtValues))
    assert note.startswith("needs storage: ")
    assert check_counting(registered(Honest)) == "without storage"


def test_a_failure_of_any_kind_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(Honest):
        """Fails where nobody wraps it."""

        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            raise KeyError("gone")

    monkeypatch.setattr(contract, "CHECKS", [check for check in CHECKS if check.run is check_checkpoint])
    ((_, failure, _),) = outcomes({"name": registered(Breaks)})
    assert failure is not None
    assert re.match(rf"{re.escape(__file__)}:\d+: KeyError: 'gone'", failure)


def test_the_inherited_class_holds_every_check() -> None:
    tests = {name.removeprefix("test_") for name in dir(ObjectiveContract) if name.startswith("test_")}
    assert tests == {check.run.__name__.removeprefix("check_") for check in CHECKS}

    class Mine(ObjectiveContract):
        objective = registered(NotFinite)

    with pytest.raises(ContractError, match="loss is nan"):
        Mine().test_loss()


def test_the_library_does_without_pytest() -> None:
    code = "import sys, deepsight.testing; print('pytest' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
    folder = Path(testing.__file__).parent
    assert all("import pytest" not in file.read_text(encoding="utf-8") for file in folder.glob("*.py"))


class _PeeksBack(nn.Module):
    """An aggregator that reads the present."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, embeddings: Tensor, tokens: Tensor) -> Tensor:
        return embeddings[:, : -self.n] + embeddings[:, self.n :]


class _Short(_PeeksBack):
    """An aggregator with a row too few."""

    def forward(self, embeddings: Tensor, tokens: Tensor) -> Tensor:
        return embeddings[:, self.n + 1 :]


class _Live(nn.Module):
    """A target that moves with the network."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.width
        self.inside_only = True

    def forward(self, trace: Trace, later: int) -> Tensor:
        return trace.input_embeddings


class _NoOutput(nn.Module):
    """A predictor that does not listen."""

    def __init__(self, width: int, target_width: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.ones(target_width))

    def forward(self, states: Tensor) -> Tensor:
        return self.constant.expand(*states.shape[:2], -1)


class _Trained(nn.LayerNorm):
    """A normaliser with a gain."""

    def __init__(self, width: int) -> None:
        super().__init__(width)


def _far(prediction: Tensor, target: Tensor) -> Tensor:
    """A distance that is largest at the target."""
    return -(prediction - target).square().mean()


def _rows(prediction: Tensor, target: Tensor) -> Tensor:
    """A distance for each row."""
    return (prediction - target).square().mean(dim=-1)


def _wide(present: Tensor, future: Tensor, n: int) -> Tensor:
    """A merge that puts the two beside each other."""
    return torch.cat([present, future], dim=-1)


def _fails(present: Tensor, future: Tensor, n: int) -> Tensor:
    """A merge that does not run."""
    return present @ future


@pytest.mark.parametrize(
    ("registry", "part", "said"),
    [
        (aggregators, _PeeksBack, "reads position [0] for row 0, whose next 1 are 1 to 1"),
        (aggregators, _Short, "must give the shape (2, 8, 16), not (2, 7, 16)"),
        (targets, _Live, "sends a gradient to the network: detach its vectors"),
        (predictors, _NoOutput, "has a gradient that is missing or not finite"),
        (normalisers, _Trained, "has trained parameters: weight, bias"),
        (distances, _far, "at the target and"),
        (distances, _rows, "must give the shape (), not (2, 9)"),
        (merges, _wide, "must give the shape (2, 9, 16), not (2, 9, 32)"),
        (merges, _fails, "fails: RuntimeError: "),
    ],
    ids=lambda value: getattr(value, "__name__", getattr(value, "kind", None)),
)
def test_a_part_that_breaks_its_contract_is_found(registry: Any, part: Any, said: str) -> None:
    registry.register("constructed")(part)
    outcome = part_outcome(registry.kind, {"name": "constructed"})
    assert outcome.failure is not None
    assert said in outcome.failure
    assert re.match(rf"{re.escape(__file__)}:\d+: the {registry.kind} 'constructed' ", outcome.failure)
