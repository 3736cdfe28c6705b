"""Which tokens ahead can be read off a state, beyond what the token at hand says of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.evaluation.probes.controls import COUNTED, Classes, about, follower
from deepsight.evaluation.probes.examples import TEST, TRAIN, Examples, counting, examples_of, trained_on
from deepsight.evaluation.probes.fitting import Data, Heads, descended, discriminant, on_test_part
from deepsight.evaluation.probes.places import ProbedPlace, by_place, check_places, place_label
from deepsight.evaluation.probes.probe import Probe, Subject, Tables
from deepsight.plug_ins import probes
from deepsight.random_streams import derive
from deepsight.trace import IGNORED

Row = dict[str, Any]
Scores = tuple[Float[Tensor, " offsets"], Float[Tensor, " offsets"]]
"""Cross-entropy (nats) and accuracy at each distance."""


@probes.register(
    "future", formula="log p(x_{t+k} | state at t) - log p(x_{t+k} | x_t)", source="Pal et al. (2023), arXiv 2311.04897"
)
class Future(Probe):
    """Read the tokens ahead off single states: accuracy, and bits beyond the best control.

    At each place, linear probes and small networks learn to predict x_{t+k} from the state at t, for k = 1 … n, on
    held-out documents, and are measured on others. Five controls say what that means: `unigram`, the frequency of
    tokens; `bigram`, what follows x_t at this distance, both counted where the probes learn; `text_bigram`, the same
    counted in as many training sequences as the run has read too (half a million tokens at most); `shuffled`, the same
    probe trained on labels in a random order; `untrained`, the same probe on the network with its initial weights. Bits
    are cross-entropies saved, ``above_…`` each control, and `bits` above the best of them. Targets that count in no
    loss, such as those in a prompt, are left out.

    Tables: `states`, one row a place, probe and distance; `controls`; `examples`, what was measured on. The most
    frequent tokens are told apart, and all others are one class, for probes and controls alike.

    Args:
        n: the furthest token ahead.
        places: encoder, bridge, decoder or {layer: k}; all where it is null.
        positions: about how many, over all parts.
        tokens: told apart, at most.
        hidden: width of the small networks' hidden layer; without them where it is null.

    """

    version = 1

    def __init__(
        self,
        n: Annotated[int, Field(ge=1, le=1000)] = 8,
        places: list[ProbedPlace] | None = None,
        positions: Annotated[int, Field(ge=100, le=10**7)] = 20_000,
        tokens: Annotated[int, Field(ge=2)] = 512,
        hidden: Annotated[int, Field(ge=1)] | None = 64,
    ) -> None:
        self.n, self.places, self.positions, self.tokens, self.hidden = n, places, positions, tokens, hidden

    def check(self, subject: Subject) -> None:
        """Refuse places that the network does not have."""
        if self.places is not None:
            check_places(self.places, subject.model)

    def run(self, subject: Subject, alive: Callable[[], None]) -> Tables:
        """Return the tables `states`, `controls` and `examples`."""
        examples = counting(examples_of(subject, range(1, self.n + 1), self.positions))
        classes = Classes(examples.ahead[examples.parts == TRAIN], subject.model.vocabulary, self.tokens)
        reading = _Reading(subject, examples, classes, self.hidden, alive)
        controls = reading.blind()
        states: list[Row] = []
        told: list[Row] = reading.rows(controls)
        for label, (of_states, of_controls) in by_place(
            subject.model, self.places, lambda place: reading.at(place, controls)
        ):
            states += [{"place": label, **row} for row in of_states]
            told += [{**row, "place": label} for row in of_controls]
        return {"states": states, "controls": told, "examples": [about(examples, reading.targets, classes)]}


class _Reading:
    """Trains probes on one set of examples.

    Args:
        subject: the trained model.
        examples: positions and tokens ahead.
        classes: the tokens told apart.
        hidden: width of the small networks' hidden layer.
        alive: called again and again.

    """

    def __init__(
        self, subject: Subject, examples: Examples, classes: Classes, hidden: int | None, alive: Callable[[], None]
    ) -> None:
        self.subject, self.examples, self.classes, self.hidden, self.alive = subject, examples, classes, hidden, alive
        self.untrained = subject.untrained()
        self.targets = classes.of(examples.ahead)

    def blind(self) -> dict[str, Scores]:
        """Return what the controls that see no state say."""
        examples, classes, vocabulary = self.examples, self.classes, self.subject.model.vocabulary
        training, test = examples.parts == TRAIN, examples.parts == TEST
        read, read_ahead = trained_on(self.subject, examples.offsets, COUNTED, self.alive)
        near = examples.tokens[training], self.targets[training]
        far = torch.cat([near[0], read]), torch.cat([near[1], classes.of(read_ahead)])
        found: dict[str, list[tuple[float, float]]] = {"unigram": [], "bigram": [], "text_bigram": []}
        for at in range(len(examples.offsets)):
            self.alive()
            wanted = self.targets[test, at]
            asked, wanted = examples.tokens[test][wanted != IGNORED], wanted[wanted != IGNORED]
            counted, counted_far = (
                follower(tokens, following[:, at], asked, vocabulary, classes.count)
                for tokens, following in (near, far)
            )
            found["unigram"].append(_scores(counted.unigram.expand(len(asked), -1), wanted))
            found["bigram"].append(_scores(counted.after(asked), wanted))
            found["text_bigram"].append(_scores(counted_far.after(asked), wanted))
        return {name: _columns(scores) for name, scores in found.items()}

    def at(self, place: ProbedPlace, blind: dict[str, Scores]) -> tuple[list[Row], list[Row]]:
        """Return the rows of `states` and `controls` of one place, which is not named in them."""
        trained = self._data(self.subject.model, place)
        found = {
            "states": self._probes(trained, place),
            "shuffled": self._probes(trained.shuffled(self._seed("shuffled", place_label(place))), place),
            "untrained": self._probes(self._data(self.untrained, place), place),
        }
        states, told = [], []
        for probe, scores in found["states"].items():
            beside = {name: found[name][probe] for name in ("shuffled", "untrained")}
            states += list(self._compared(probe, scores, {**blind, **beside}))
            told += self.rows(beside, probe)
        return states, told

    def rows(self, controls: dict[str, Scores], probe: str | None = None) -> list[Row]:
        """Return the rows of `controls` of some of them; there is neither place nor probe of one that sees no state."""
        return [
            {"control": name, "place": None, "probe": probe, "ahead": ahead, "accuracy": a, "cross_entropy": c}
            for name, (nats, accuracy) in controls.items()
            for ahead, c, a in zip(self.examples.offsets, nats.tolist(), accuracy.tolist(), strict=True)
        ]

    def _compared(self, probe: str, scores: Scores, controls: dict[str, Scores]) -> Iterator[Row]:
        counted = (self.targets[self.examples.parts == TEST] != IGNORED).sum(dim=0).tolist()
        for at, ahead in enumerate(self.examples.offsets):
            nats, accuracy = float(scores[0][at]), float(scores[1][at])
            saved = {name: (float(other[at]) - nats) / math.log(2) for name, (other, _) in controls.items()}
            yield {
                "probe": probe,
                "ahead": ahead,
                "positions": counted[at],
                "accuracy": accuracy,
                "cross_entropy": nats,
                "bits": min(saved.values()),
                **{f"above_{name}": bits for name, bits in saved.items()},
            }

    def _data(self, model: Architecture, place: ProbedPlace) -> Data:
        states = self.examples.states(model, place, self.alive)
        targets, parts = self.targets.to(states.device), self.examples.parts.to(states.device)
        return Data(states, targets, parts, self.classes.count).standardised()

    def _probes(self, data: Data, place: ProbedPlace) -> dict[str, Scores]:
        """Train the probes; the small network goes on where the linear one has ended."""
        seed = self._seed("probe", place_label(place))
        linear = descended(discriminant(data), data, seed, self.alive)
        found: dict[str, Heads] = {"linear": linear}
        if self.hidden is not None:
            found["mlp"] = descended(linear.with_hidden(self.hidden, seed), data, seed + 1, self.alive)
        return {name: on_test_part(heads, data) for name, heads in found.items()}

    def _seed(self, *purpose: str) -> int:
        return derive(self.subject.seed, "future", *purpose)


def _scores(shares: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Return cross-entropy and accuracy of shares (positions, classes); the last class is never the likeliest."""
    nats = -shares.gather(1, wanted[:, None]).log().mean()
    return float(nats), float((shares[:, :-1].argmax(dim=1) == wanted).double().mean())


def _columns(scores: list[tuple[float, float]]) -> Scores:
    nats, accuracy = torch.tensor(scores, dtype=torch.double).T
    return nats, accuracy
