"""What open-ended tasks share: something is made up from a prompt alone, and must fit rules, be new and vary."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from deepsight.data.player import Player, Sequences
from deepsight.data.tasks.task import Draws, Keys, Measure, Scored, Task, mixed
from deepsight.errors import UserError

SEED = 0
"""Of the samples that are measured."""


class Creative(Task):
    """Make something up that fits the rules and that training did not show (Nagarajan et al., 2025).

    A sequence is a prompt of one token, which is never scored, and what is made up. Two sequences say the same if their
    `canonical` forms are equal. Measures, of `samples` sequences drawn at temperature 1 from the prompt alone:
    `creativity`, different coherent forms that are not in the training set; `coherence`, samples that fit the rules;
    `memorisation`, samples whose form is in the training set; `uniqueness`, different forms, coherent or not. All are
    shares of the samples. Chance is that of tokens drawn uniformly from the vocabulary, and that of uniqueness is not
    known.

    Attributes:
        prompt: the token that samples begin with.
        samples: sequences that are made up to measure, |S|.
        forms: how many different coherent forms there are.
        listings: coherent sequences of each form, the same number for all.

    """

    prompt: int
    samples: int
    forms: int
    listings: int

    @abstractmethod
    def coherent(self, sequences: Sequences) -> npt.NDArray[np.bool_]:
        """Return which sequences fit the rules, (sequences,)."""

    @abstractmethod
    def canonical(self, sequences: Sequences) -> Sequences:
        """Return rows of numbers that are equal where sequences say the same, (sequences, numbers)."""

    def scored(self, sequences: Sequences) -> Scored:
        """Return which tokens are made up: all but the prompt."""
        return np.broadcast_to(np.arange(sequences.shape[1]) > 0, sequences.shape)

    def keys(self, sequences: Sequences) -> Keys:
        """Return a number for each form, however it is listed."""
        return mixed(self.canonical(sequences))

    @functools.cached_property
    def known(self) -> frozenset[bytes]:
        """The forms in the training set, each as the bytes of its canonical row."""
        # Here, because that module needs torch.
        from deepsight.data.tasks.sequences import DATA_SEED, distinct

        assert self.training_set is not None
        return frozenset(rows_of(self.canonical(distinct(self, self.training_set, DATA_SEED))))

    @property
    def ceiling(self) -> float:
        """The expected creativity of whoever draws uniformly from all coherent sequences, seen and unseen.

        Of F forms, K of them known, S samples show (F - K)(1 - (1 - 1/F)^S) new ones. Only who avoids what training
        showed can be better.
        """
        return self._expected_creativity(1 / self.forms)

    def measure(self, player: Player, examples: Sequences) -> Mapping[str, Measure]:
        """Return what the samples of a player are worth; the examples play no part, since nothing is given."""
        prompts = np.full((self.samples, 1), self.prompt, dtype=np.int64)
        made = player.continued(prompts, self.answer_length, temperature=1.0, seed=SEED)
        return self.judged(np.concatenate([prompts, made], axis=1))

    def judged(self, sequences: Sequences) -> dict[str, Measure]:
        """Return what `samples` sequences are worth."""
        fits = self.coherent(sequences)
        forms = rows_of(self.canonical(sequences))
        seen = fits & np.array([form in self.known for form in forms], dtype=np.bool_)
        new = {form for form, counts in zip(forms, fits & ~seen, strict=True) if counts}
        blind = self.listings / len(self.words) ** self.answer_length
        return {
            "creativity": Measure(len(new) / len(forms), self._expected_creativity(blind)),
            "coherence": Measure(float(fits.mean()), self.forms * blind),
            "memorisation": Measure(float(seen.mean()), len(self.known) * blind),
            "uniqueness": Measure(len(set(forms)) / len(forms)),
        }

    def _expected_creativity(self, chance: float) -> float:
        """Return the creativity of samples in which each form has the same chance."""
        missed = self.samples * (math.log1p(-chance) if chance < 1 else -math.inf)
        return (self.forms - len(self.known)) * -math.expm1(missed) / self.samples

    def _check_training_set(self, what: str) -> None:
        """Refuse a training set that is larger than the number of different sequences to train on."""
        if self.training_set is None or 2 * self.training_set < self.forms * self.listings:
            return
        random = np.random.RandomState(np.random.MT19937(SEED))
        held_out: dict[bytes, bool] = {}
        while len(held_out) < self.forms:
            sequences = self.draw(random, 4 * self.forms)
            kinds = self.keys(sequences) % np.uint64(self.held_out) == 0
            held_out.update(zip(rows_of(self.canonical(sequences)), kinds.tolist(), strict=True))
        most = self.listings * (self.forms - sum(held_out.values()))
        if self.training_set > most:
            raise UserError(
                f"{what} make {most:,} different sequences to train on, not {self.training_set:,}; "
                f"give at most {most:,}",
                ("training_set",),
            )


def weighted(random: Draws, weights: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Return a column of each row, drawn in proportion to its weight, (rows, columns) → (rows,)."""
    cumulated = np.cumsum(weights, axis=1)
    passed = cumulated > random.random_sample(len(weights))[:, None] * cumulated[:, -1:]
    columns: npt.NDArray[np.int64] = passed.argmax(axis=1)
    return columns


def in_pairs(words: list[str]) -> str:
    """Return the prompt and the edges after it as people read them, such as ``tri: 3 7, 7 1, 1 3``."""
    return f"{words[0]} {', '.join(' '.join(words[place : place + 2]) for place in range(1, len(words), 2))}"


def rows_of(numbers: Sequences) -> list[bytes]:
    """Return the bytes of each row, by which rows are equal or not."""
    return [row.tobytes() for row in np.ascontiguousarray(numbers)]
