"""A language in which a token tells of the one that comes a fixed number of tokens later, and of no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Player, Sequences
from deepsight.data.tasks.task import Draws, Measure, Scored, Task
from deepsight.errors import UserError
from deepsight.plug_ins import tasks


@tasks.register(
    "delayed_recall",
    source="this project; a delayed copy inside running text, after Hochreiter & Schmidhuber (1997)",
)
class DelayedRecall(Task):
    """Remember each cue for as many tokens as the delay, then say its payload.

    Where a cue stands `delay` tokens before, the token is that cue's payload; anywhere else it is a cue with
    probability `rate`, else a filler, all cues and all fillers equally likely: ``c0 a2 c1 c4 b2 …`` with a delay of 3.
    So the distance at which the future is known is one number, and every objective that looks ahead can be asked for
    it: its horizon should reach the delay, and a learned horizon should find it.

    Tokens at positions that are not a multiple of the delay apart are independent. Over twice the delay and further,
    only their kinds depend on each other, a little (after a cue comes a payload and no cue); which cue, payload or
    filler it is tells nothing. With the defaults, mutual information is 0.92 nats over one delay, 0.051 over two and
    0.002 over three.

    The words a0, a1, … are cues, b0, b1, … their payloads, and c0, c1, … fillers.

    Every token counts in training: an objective must find the few that can be known among those that cannot. The
    measures are of payloads alone, with what comes before them shown:

    - `recall`: how often the likeliest of the payloads is the right one; chance is 1/cues;
    - `recall_among_all`: how often the likeliest of all tokens is. Who knows nothing of the delay says the most
      frequent token, which is never a payload (each cue is at least as frequent as its payload), so chance is 0.

    Args:
        delay: tokens from a cue to its payload; 1 is the next token.
        cues: number of cues, and of payloads.
        fillers: number of fillers.
        rate: probability of a cue where no payload is due.
        length: tokens of a sequence.
        training_set: sequences to train on; None draws new ones for every batch.

    Raises:
        UserError: no payload would come within the sequence.

    """

    def __init__(
        self,
        delay: Annotated[int, Field(ge=1)] = 8,
        cues: Annotated[int, Field(ge=2)] = 8,
        fillers: Annotated[int, Field(ge=1)] = 8,
        rate: Annotated[float, Field(ge=0.01, le=1)] = 0.25,
        length: Annotated[int, Field(ge=2)] = 64,
        training_set: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        if delay >= length:
            raise UserError(
                f"a delay of {delay} reaches past the end of sequences of {length} tokens; give at most {length - 1}",
                ("delay",),
            )
        self.delay, self.cues, self.fillers, self.rate = delay, cues, fillers, rate
        self.length, self.training_set = length, training_set
        self.answer_length = length - 1
        kinds = {"a": cues, "b": cues, "c": fillers}
        self.words = tuple(f"{kind}{number}" for kind, size in kinds.items() for number in range(size))

    def draw(self, random: Draws, count: int) -> Sequences:
        """Return sequences, (count, length)."""
        tokens = self._undetermined(random, (count, self.length))
        for start in range(self.delay, self.length, self.delay):
            due = tokens[:, start : start + self.delay]
            before = tokens[:, start - self.delay : start - self.delay + due.shape[1]]
            np.copyto(due, before + self.cues, where=before < self.cues)
        return tokens

    def scored(self, sequences: Sequences) -> Scored:
        """Return that every token counts but the first, which follows nothing."""
        return np.broadcast_to(np.arange(sequences.shape[1]) >= 1, sequences.shape)

    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return the payload that is due; where there is none, a cue or a filler as they are drawn."""
        tokens = self._undetermined(random, (len(prefixes),))
        if prefixes.shape[1] < self.delay:
            return tokens
        before = prefixes[:, -self.delay]
        return np.where(before < self.cues, before + self.cues, tokens)

    def measure(self, player: Player, examples: Sequences) -> Mapping[str, Measure]:
        """Return how many payloads are recalled; no measures where the examples have none."""
        due = self.is_payload(examples)[:, 1:]
        if not due.any():
            return {}
        right = examples[:, 1:][due]
        payloads = player.probabilities(examples[:, :-1])[..., self.cues : 2 * self.cues][due]
        among_all = player.predicted(examples[:, :-1])[due]
        return {
            "recall": Measure(float((self.cues + payloads.argmax(axis=1) == right).mean()), 1 / self.cues),
            "recall_among_all": Measure(float((among_all == right).mean()), 0.0),
        }

    def is_payload(self, sequences: Sequences) -> npt.NDArray[np.bool_]:
        """Return which tokens are payloads, (sequences, time)."""
        return (sequences >= self.cues) & (sequences < 2 * self.cues)

    def _undetermined(self, random: Draws, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return cues and fillers."""
        numbers = random.random_sample(shape)
        # Below the rate, what is left of a number is itself evenly distributed, and above it too.
        cue = np.minimum(numbers * (self.cues / self.rate), self.cues - 1)
        share = (numbers - self.rate) / max(1 - self.rate, 1e-9)
        filler = 2 * self.cues + np.minimum(share * self.fillers, self.fillers - 1)
        return np.where(numbers < self.rate, cue, filler).astype(np.int64)
