"""Small networks of every architecture, and one objective built, prepared and trained on one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig, TrainingConfig
from deepsight.errors import UserError
from deepsight.initialisation import initialise
from deepsight.objective import Preparation
from deepsight.objective_specs import resolved_objective
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import architectures, objectives
from deepsight.registry import Component
from deepsight.trace import Place, Trace
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients
from deepsight.validation import validated

CONTEXT = 16
SHORTER = 13
"""A window shorter than the context, and still longer than usual horizons."""

ESSENTIAL = ("deepsight", "baseline")
"""The architectures that every objective must work on."""

SHAPE = {"width": 16, "heads": 2, "layers": [2, 2]}
VOCABULARY = 31
END_OF_TEXT = 0

Windows = tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"], Int[Tensor, "batch later"] | None]


class ContractError(AssertionError):
    """A component does not keep its contract: one sentence with its file and line."""


@dataclass(frozen=True)
class System:
    """An architecture at a size for tests, with the window and the precision that it is run with."""

    architecture: str
    window: int = CONTEXT
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        return f"{self.architecture}, window {self.window} of {CONTEXT}, {str(self.dtype).removeprefix('torch.')}"

    def network(self, vocabulary: int = VOCABULARY, *, lively: bool = False) -> Architecture:
        """Return the network with initial weights; a `lively` one has weights so large that every part matters.

        Raises:
            UserError: the architecture cannot have this size, or needs parameters.

        """
        config = self._config()
        network = architectures.build(self.architecture, config=config, vocabulary=vocabulary)
        initialise(network, seed=0)
        if lively:
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for weight in network.parameters():
                    noise = torch.empty(weight.shape).normal_(0.0, 0.3, generator=generator)
                    weight.copy_(noise + (1.0 if weight.ndim == 1 else 0.0))
        return network if self.dtype == torch.float32 else network.to(self.dtype)

    def _config(self) -> ModelConfig:
        """Return a model configuration whose traces have `CONTEXT` positions, also where a prefix is not predicted."""
        factory: Any = architectures[self.architecture].factory
        context = CONTEXT
        while True:
            written = {"architecture": self.architecture, **SHAPE, "context": context}
            config: ModelConfig = factory.normalised(validated(ModelConfig, written))
            if context - factory.first_predicted(config) >= CONTEXT or context > 4 * CONTEXT:
                return config
            context += CONTEXT


def systems_for(spec: object) -> list[System]:
    """Return a system of every registered architecture that an objective fits, with a whole window, in float32.

    An architecture that cannot have this size is left out, and one that the objective refuses in a sentence of its
    own; every objective must fit those of `ESSENTIAL`.

    Raises:
        UserError: the objective refuses one of these, or fails.

    """
    found = []
    for name in architectures.names():
        system = System(name)
        try:
            system.network()
        except UserError:
            continue
        try:
            Subject(spec, system).said()
        except UserError as error:
            # What fails, rather than refuses, has a cause.
            if name in ESSENTIAL or error.__cause__ is not None:
                raise
            continue
        found.append(system)
    return found


def essential_systems() -> list[System]:
    """Return a system of each architecture that every objective must work on."""
    return [System(name) for name in ESSENTIAL]


def more_systems_for(spec: object) -> list[System]:
    """Return the same, and every essential architecture in float64 with a window shorter than the context."""
    return [*systems_for(spec), *(System(name, SHORTER, torch.float64) for name in ESSENTIAL)]


class Subject:
    """One objective on one system, as a run has it: built, placed, and told of network and corpus.

    Args:
        spec: the objective, as written in a configuration; its coefficient is taken as 1.
        system: what it runs on.
        attach: the place, where it is not the one of `spec`.
        vocabulary: number of token ids.
        lively: whether the network's weights are large.
        end_of_text: the id that ends documents, if there are any.
        prepared: whether the objective has seen the network; if not, call `prepare`.

    """

    def __init__(
        self,
        spec: object,
        system: System,
        *,
        attach: Place | None = None,
        vocabulary: int = VOCABULARY,
        lively: bool = False,
        end_of_text: int | None = END_OF_TEXT,
        prepared: bool = True,
    ) -> None:
        written = {**resolved_objective(spec), "coefficient": 1.0}
        self.component = component_of(written)
        self.system = system
        self.network = system.network(vocabulary, lively=lively)
        complete = [{**written, **({"attach": attach} if attach else {})}]
        self.objectives = Objectives(complete, self.network.shape, 0, end_of_text)
        self._in_precision()
        (self.label,) = self.objectives.parts
        if prepared:
            self.prepare()
        self._optimizer: torch.optim.Optimizer | None = None

    def prepare(self) -> None:
        """Let the objective look at the network and at a corpus in which token i stands i + 1 times."""
        counts = torch.arange(1, self.network.vocabulary + 1)
        self.objectives.prepare(Preparation(self.network, lambda: counts.clone(), seed=0))
        self._in_precision()

    def windows(self, rows: int = 3, seed: int = 0, window: int | None = None) -> Windows:
        """Return inputs, next tokens and later tokens; all are independent and uniform.

        The window counts from the first position whose next token the architecture predicts.
        """
        network, later = self.network, self.objectives.lookahead
        length = (window or self.system.window) + network.first_predicted(network.config)
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(network.vocabulary, (rows, length + 1 + later), generator=generator)
        return tokens[:, :length].clone(), tokens[:, 1 : length + 1].clone(), tokens[:, length + 1 :] if later else None

    def trace(self, windows: Windows | None = None) -> Trace:
        """Return the network's trace of some windows."""
        inputs, targets, later = windows or self.windows()
        trace: Trace = self.network(inputs, targets)
        return dataclasses.replace(trace, later=later)

    def said(self, trace: Trace | None = None, *moment: int) -> dict[str, Tensor]:
        """Return the loss and the metrics of a trace; random numbers are those of a moment (step, micro-batch)."""
        return self.objectives.losses(trace or self.trace(), 0, *(moment or (0, 0)))[self.label]

    def accumulate(self, windows: Windows | None = None, step: int = 0) -> dict[str, Tensor]:
        """Add the gradients of a training step to network and objective, and return its metrics."""
        return accumulate_gradients(self.network, self.objectives, *(windows or self.windows()), seed=0, step=step)

    def train(self, steps: int, rows: int = 3, learning_rate: float = 1e-2) -> list[float]:
        """Take training steps as a run does, on fresh windows each; return the objective's loss at each."""
        if self._optimizer is None:
            config = TrainingConfig(steps=steps, batch_size=rows, learning_rate=learning_rate)
            self._optimizer = build_optimizer([self.network, self.objectives], config)
        losses = []
        for step in range(steps):
            metrics = self.accumulate(self.windows(rows, seed=1000 + step), step)
            torch.nn.utils.clip_grad_norm_([*self.network.parameters(), *self.objectives.parameters()], 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            self.objectives.after_step(self.network)
            losses.append(float(metrics[f"{self.label}/loss"]))
        return losses

    def _in_precision(self) -> None:
        if self.system.dtype != torch.float32:
            self.objectives.to(self.system.dtype)

    def broken(self, sentence: str) -> ContractError:
        """Return the error of an objective that breaks its contract here: its file, line and name come first."""
        component = self.component
        return ContractError(f"{component.location}: the objective {component.name!r} {sentence} ({self.system})")


def component_of(spec: Mapping[str, Any]) -> Component:
    """Return the registered objective of a complete spec."""
    return objectives[str(spec["name"])]
