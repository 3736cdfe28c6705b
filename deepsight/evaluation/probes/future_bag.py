"""Which tokens a state knows to come, whatever their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.evaluation.probes.controls import COUNTED, Classes, about, bag_follower, bags
from deepsight.evaluation.probes.examples import SELECT, TEST, TRAIN, Examples, counting, examples_of, trained_on
from deepsight.evaluation.probes.fitting import Data
from deepsight.evaluation.probes.places import ProbedPlace, by_place, check_places, place_label
from deepsight.evaluation.probes.probe import Probe, Subject, Tables
from deepsight.evaluation.probes.ranking import average_precision, roc_area
from deepsight.plug_ins import probes
from deepsight.random_streams import derive

RIDGES = (1e-3, 1e-2, 1e-1)

Row = dict[str, Any]


@probes.register(
    "future_bag",
    formula="AP of W h_t for 1[v in x_{t+first} … x_{t+tau}], mean over v",
    source="the target of Mahajan et al. (2025), arXiv 2510.14751",
)
class FutureBag(Probe):
    """Read off single states which tokens come within a window, whatever their order.

    At each place a linear probe (least squares, its ridge chosen on documents of their own) scores, for each frequent
    token, whether it is among x_{t+first} … x_{t+tau}; how well the scores put the positions where it is before the
    others is told by average precision and by the area under the receiver operating characteristic, each the mean over
    the tokens that occur in the test documents. The controls are those of the probe `future`, asked the same:
    `unigram` says the same of every position, `bigram` and `text_bigram` how often a token was in the window after x_t.

    Tables: `states`, one row a place, with what each control leaves of the average precision (``above_…``), and `gain`
    above the best of them; `controls`; `examples`, what was measured on.

    Args:
        tau: where the window ends.
        first: where it begins; 2 leaves out the next token.
        places: encoder, bridge, decoder or {layer: k}; all where it is null.
        positions: about how many, over all parts.
        tokens: the most frequent ones, at most so many.

    Raises:
        UserError: the window ends before it begins.

    """

    version = 1

    def __init__(
        self,
        tau: Annotated[int, Field(ge=1, le=1000)] = 12,
        first: Annotated[int, Field(ge=1)] = 2,
        places: list[ProbedPlace] | None = None,
        positions: Annotated[int, Field(ge=100, le=10**7)] = 20_000,
        tokens: Annotated[int, Field(ge=2)] = 512,
    ) -> None:
        if tau < first:
            raise UserError(f"the window begins at {first}, so it cannot end at {tau}", ("tau",))
        self.tau, self.first, self.places, self.positions, self.tokens = tau, first, places, positions, tokens

    def check(self, subject: Subject) -> None:
        """Refuse places that the network does not have."""
        if self.places is not None:
            check_places(self.places, subject.model)

    def run(self, subject: Subject, alive: Callable[[], None]) -> Tables:
        """Return the tables `states`, `controls` and `examples`."""
        examples = counting(examples_of(subject, range(self.first, self.tau + 1), self.positions))
        classes = Classes(examples.ahead[examples.parts == TRAIN], subject.model.vocabulary, self.tokens)
        reading = _Reading(subject, examples, classes, alive)
        blind = reading.blind()
        states: list[Row] = []
        controls: list[Row] = [{"control": name, "place": None, **scores} for name, scores in blind.items()]
        for label, found in by_place(subject.model, self.places, reading.at):
            trained = found["trained"]
            beside = {name: found[name] for name in ("shuffled", "untrained")}
            above = {
                f"above_{name}": trained["average_precision"] - scores["average_precision"]
                for name, scores in {**blind, **beside}.items()
            }
            states.append({"place": label, **reading.size, **trained, "gain": min(above.values()), **above})
            controls += [{"control": name, "place": label, **scores} for name, scores in beside.items()]
        return {"states": states, "controls": controls, "examples": [about(examples, reading.targets, classes)]}


class _Reading:
    """Trains probes on one set of examples.

    Args:
        subject: the trained model.
        examples: positions and tokens ahead.
        classes: the tokens that are looked for.
        alive: called again and again.

    """

    def __init__(self, subject: Subject, examples: Examples, classes: Classes, alive: Callable[[], None]) -> None:
        self.subject, self.examples, self.classes, self.alive = subject, examples, classes, alive
        self.untrained = subject.untrained()
        self.targets = classes.of(examples.ahead)
        self.there = self._there(self.targets[examples.parts == TEST]).numpy()

    @property
    def size(self) -> dict[str, int]:
        """How many positions are measured, and over how many tokens the mean goes."""
        return {"positions": len(self.there), "tokens": int(_occurring(self.there).sum())}

    def blind(self) -> dict[str, dict[str, float]]:
        """Return what the controls that see no state reach."""
        examples, classes = self.examples, self.classes
        training, asked = examples.parts == TRAIN, examples.tokens[examples.parts == TEST]
        read, read_ahead = trained_on(self.subject, examples.offsets, COUNTED, self.alive)
        near = examples.tokens[training], self.targets[training]
        far = torch.cat([near[0], read]), torch.cat([near[1], classes.of(read_ahead)])
        scores = {"unigram": torch.zeros(self.there.shape)}
        for name, (tokens, ahead) in (("bigram", near), ("text_bigram", far)):
            self.alive()
            counted = bag_follower(tokens, ahead, asked, self.subject.model.vocabulary, classes.count)
            scores[name] = counted.after(asked)[:, :-1]
        return {name: _ranked(score, self.there) for name, score in scores.items()}

    def at(self, place: ProbedPlace) -> dict[str, dict[str, float]]:
        """Return what the probe reaches at a place, `trained`, and its controls there."""
        trained = self._data(self.subject.model, place)
        asked = {
            "trained": trained,
            "shuffled": trained.shuffled(derive(self.subject.seed, "future_bag", "shuffled", place_label(place))),
            "untrained": self._data(self.untrained, place),
        }
        return {name: _ranked(self._scores(data), self.there) for name, data in asked.items()}

    def _data(self, model: Architecture, place: ProbedPlace) -> Data:
        states = self.examples.states(model, place, self.alive)
        targets, parts = self.targets.to(states.device), self.examples.parts.to(states.device)
        return Data(states, targets, parts, self.classes.count).standardised()

    def _scores(self, data: Data) -> Float[Tensor, "test tokens"]:
        """Return the scores of the test part, with the ridge that ranks the second part best."""
        states, targets = data.part(TRAIN)
        wanted = self._there(targets.cpu()).to(states)
        second, of_second = data.part(SELECT)
        there = self._there(of_second.cpu()).numpy()
        covariance, products = states.T @ states / len(states), states.T @ (wanted - wanted.mean(dim=0)) / len(states)
        best, most = products, -1.0
        for ridge in RIDGES:
            self.alive()
            weights = torch.linalg.solve(covariance + ridge * torch.eye(len(covariance)).to(states), products)
            reached = float(np.nanmean(average_precision((second @ weights).double().cpu().numpy(), there)))
            if reached > most:
                best, most = weights, reached
        return data.part(TEST)[0] @ best

    def _there(self, targets: Tensor) -> Bool[Tensor, "positions tokens"]:
        return bags(targets, self.classes.count)[:, :-1]


def _ranked(scores: Tensor, there: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, float]:
    """Return the means over the tokens that occur."""
    occurring = _occurring(there)
    columns, found = scores.double().cpu().numpy()[:, occurring], there[:, occurring]
    return {
        "average_precision": float(average_precision(columns, found).mean()) if occurring.any() else 0.0,
        "roc_area": float(roc_area(columns, found).mean()) if occurring.any() else 0.5,
    }


def _occurring(there: np.ndarray[Any, np.dtype[np.bool_]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which tokens are in some windows and not in all, (tokens,)."""
    return np.asarray(there.any(axis=0) & ~there.all(axis=0))
