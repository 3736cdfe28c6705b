"""What a probe is, and what it may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch

from deepsight.architecture import Architecture
from deepsight.building import build_model
from deepsight.config import RunConfig
from deepsight.data.source import Source
from deepsight.objectives_of_run import Objectives

Tables: TypeAlias = dict[str, list[dict[str, Any]]]
"""Table name → rows of plain JSON values (no NaN: None where there is no number), always in the same order."""


@dataclass(frozen=True)
class Subject:
    """A trained model and what belongs to it.

    Attributes:
        config: of the run.
        model: the trained network, in evaluation mode, in float32.
        objectives: the run's, trained, in evaluation mode.
        source: what the run learned from.
        device: where network and objectives are.
        seed: from which a probe draws its own random numbers (`derive(subject.seed, "my probe", …)`); the same for all
            runs, so that arms and seeds of a study are asked alike. The run's own is `config.seed`.

    """

    config: RunConfig
    model: Architecture
    objectives: Objectives
    source: Source
    device: torch.device
    seed: int = 0

    def untrained(self) -> Architecture:
        """Return the same network with the weights with which its training began, in evaluation mode."""
        return build_model(self.config).to(self.device).eval()


class Probe(ABC):
    """A question to a trained model, answered with tables.

    A probe of your own derives from this class and is registered with ``@probes.register("name")``
    (`deepsight.plug_ins.probes`); its typed constructor parameters are what can be configured. Equal parameters and an
    equal model give equal tables; the constructor is cheap.
    """

    version: ClassVar[int] = 1
    """Raised when equal parameters give other tables: what was stored before is then computed again."""

    def check(self, subject: Subject) -> None:  # noqa: B027 - many probes need nothing
        """Refuse a run that lacks what the probe needs, without computing anything.

        Raises:
            UserError: what is missing, in one sentence.

        """

    @abstractmethod
    def run(self, subject: Subject, alive: Callable[[], None]) -> Tables:
        """Return what the probe finds; `check` has passed.

        Args:
            subject: the model; left as it is.
            alive: to be called every second or so: a study takes what is silent for long for stalled.

        Raises:
            UserError: the run lacks what the probe needs, in one sentence.

        """
