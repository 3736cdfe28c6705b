"""Stories with names of two tokens: the second must be looked up where the name was said before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Player, Sequences
from deepsight.data.tasks.task import Draws, Keys, Measure, Scored, Task, integers, mixed, permutations
from deepsight.errors import UserError
from deepsight.plug_ins import tasks

OPENINGS = ("{0} and {1} were good friends .", "one day {0} met {1} .", "{0} lived next to {1} .")
SENTENCES = (
    "{0} gave {1} a red ball .",
    "{0} was happy all day .",
    "{0} ran after {1} .",
    "the dog barked at {0} .",
    "then {0} and {1} went home .",
    "{0} asked {1} for help .",
    "a bird sang for {0} .",
    "{0} hid behind the tree .",
    "soon {0} found {1} there .",
    "{0} told {1} a secret .",
    "the cake was for {0} .",
    "at night {0} slept well .",
)
STOP = "."
SYLLABLES = [consonant + vowel for vowel in "aeiou" for consonant in "bdfgklmnprstvz"]

Flags: TypeAlias = npt.NDArray[np.bool_]


@tasks.register("two_token_names", source="Gloeckle et al. (2024), section 4.1, arXiv 2404.19737")
class TwoTokenNames(Task):
    """Complete a name that the story has said before.

    A story has `sentences` short sentences about some characters, the first about two of them. A name has two tokens,
    drawn anew for every story, each evenly from as many pieces; no two characters of a story share the first one. So
    the second token of a name can be known only from an earlier place where it followed the same first one, which is
    what induction heads look up: ``Ba -lo met Ki -na . the dog barked at Ki -na .``

    It is running text, of which all but the first token and the padding counts in training. Published are children's
    stories with their names replaced; these are made of a few templates. The set of a story's names with its templates
    tells training from held-out stories.

    Measures, with all that comes before shown, of the likeliest of all tokens:

    - `second_token`: how often it is right after the first token of a name said before; chance is 1/pieces, and who
      repeats the second token of any character without looking gets about 1/characters;
    - `first_mention`: the same where a name is first said; nothing tells it, so it must stay at chance, 1/pieces.

    Args:
        pieces: number of first and of second tokens of names.
        characters: of a story; a long one may be needed to meet them all.
        sentences: of a story.
        training_set: stories to train on; None draws new ones for every batch.

    Raises:
        UserError: there are more characters than first tokens.

    """

    def __init__(
        self,
        pieces: Annotated[int, Field(ge=2)] = 50,
        characters: Annotated[int, Field(ge=2)] = 3,
        sentences: Annotated[int, Field(ge=2)] = 8,
        training_set: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        if characters > pieces:
            raise UserError(
                f"{characters} characters need first tokens of their own, and there are {pieces}; "
                f"give at least {characters}",
                ("pieces",),
            )
        self.pieces, self.characters, self.sentences = pieces, characters, sentences
        self.training_set = training_set
        told = dict.fromkeys(word for text in (*OPENINGS, *SENTENCES) for word in text.split() if "{" not in word)
        names = [syllables(number) for number in range(pieces)]
        self.words = (*told, *(name.capitalize() for name in names), *(f"-{name}" for name in names), "_")
        self.first, self.second, self.padding = len(told), len(told) + pieces, len(told) + 2 * pieces
        self.stop = list(told).index(STOP)
        self.templates = self._templates()
        self.length = int((self.templates != self.padding).sum(axis=1)[: len(OPENINGS)].max())
        self.length += (sentences - 1) * self.templates.shape[1]
        self.answer_length = self.length - 1

    def draw(self, random: Draws, count: int) -> Sequences:
        """Return sequences, (count, length)."""
        shape, rows = (count, self.sentences), np.arange(count)[:, None]
        chosen = len(OPENINGS) + integers(random, shape, len(SENTENCES))
        chosen[:, 0] = integers(random, count, len(OPENINGS))
        first = self.first + permutations(random, count, self.pieces)[:, : self.characters]
        names = np.stack([first, self.second + integers(random, first.shape, self.pieces)], axis=2)
        one = integers(random, shape, self.characters)
        other = (one + 1 + integers(random, shape, self.characters - 1)) % self.characters
        # Of each sentence the four tokens that its two names may need.
        said = np.concatenate([names[rows, one], names[rows, other]], axis=2)
        texts = self.templates[chosen]
        places = texts - len(self.words)
        texts = np.where(places >= 0, np.take_along_axis(said, np.maximum(places, 0), axis=2), texts)
        texts = texts.reshape(count, -1)
        kept = texts != self.padding
        stories = np.full((count, self.length), self.padding, dtype=np.int64)
        stories[np.arange(self.length) < kept.sum(axis=1)[:, None]] = texts[kept]
        return stories

    def scored(self, sequences: Sequences) -> Scored:
        """Return which tokens are no padding, without the first, which follows nothing."""
        counts: Scored = (np.arange(sequences.shape[1]) >= 1) & (sequences != self.padding)
        return counts

    def keys(self, sequences: Sequences) -> Keys:
        """Return a number for each set of names and row of templates, whoever of them does what."""
        due, known = self.second_tokens(sequences)
        new = (due & (known < 0))[:, 1:-1]
        names = mixed(np.stack([sequences[:, :-1], sequences[:, 1:]], axis=2).reshape(-1, 2)).reshape(new.shape)
        together: Keys = np.where(new, names, np.uint64(0)).sum(axis=1, dtype=np.uint64)
        return mixed(self._without_names(sequences)) + together

    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return the second token of a name; elsewhere one that goes on with the sentence, or begins one, by chance."""
        due, known = (found[:, -1] for found in self.second_tokens(prefixes))
        new = self.second + integers(random, len(prefixes), self.pieces)
        return np.where(due, np.where(known >= 0, known, new), self._next_words(prefixes, random))

    def measure(self, player: Player, examples: Sequences) -> Mapping[str, Measure]:
        """Return how often the second tokens of names are right, which were said before and which are new."""
        due, known = (found[:, 1:-1] for found in self.second_tokens(examples))
        right = player.predicted(examples[:, :-1]) == examples[:, 1:]
        places = {"second_token": due & (known >= 0), "first_mention": due & (known < 0)}
        return {
            name: Measure(float(right[judged].mean()), 1 / self.pieces)
            for name, judged in places.items()
            if judged.any()
        }

    def second_tokens(self, sequences: Sequences) -> tuple[Flags, Sequences]:
        """Return where the second token of a name is due, and which one if it was said before (else -1).

        Both are (sequences, time + 1): the last is what comes after the sequences.
        """
        count, time = sequences.shape
        rows = np.arange(count)
        due = np.zeros((count, time + 1), dtype=np.bool_)
        known = np.full((count, time + 1), -1, dtype=np.int64)
        said = np.full((count, self.pieces), -1, dtype=np.int64)
        due[:, 1:] = self._is_first(sequences)
        for place in range(1, time + 1):
            named = rows[due[:, place]]
            piece = sequences[named, place - 1] - self.first
            known[named, place] = said[named, piece]
            if place < time:
                said[named, piece] = sequences[named, place]
        return due, known

    def rendered(self, sequence: Sequences) -> str:
        """Return a story as text, its names in one piece."""
        words = [self.words[token] for token in sequence if token != self.padding]
        return " ".join(words).replace(" -", "").replace(f" {STOP}", STOP)

    def _templates(self) -> npt.NDArray[np.int64]:
        """Return the templates as tokens, (templates, most tokens of one): openings, then sentences, then padding.

        From the number of words on, numbers stand for names: first and second token of {0}, then of {1}.
        """
        ids = {word: [number] for number, word in enumerate(self.words)}
        ids |= {f"{{{slot}}}": [len(self.words) + 2 * slot, len(self.words) + 2 * slot + 1] for slot in (0, 1)}
        rows = [[token for word in text.split() for token in ids[word]] for text in (*OPENINGS, *SENTENCES)]
        longest = max(map(len, rows))
        return np.array([row + [self.padding] * (longest - len(row)) for row in rows], dtype=np.int64)

    def _is_first(self, tokens: Sequences) -> Flags:
        return (tokens >= self.first) & (tokens < self.second)

    def _without_names(self, tokens: Sequences) -> Sequences:
        """Return tokens with the number of words in place of all first tokens of names, and one more of all second."""
        second = (tokens >= self.second) & (tokens < self.padding)
        plain = np.where(self._is_first(tokens), len(self.words), np.where(second, len(self.words) + 1, tokens))
        # In templates, those of {1} are the same as those of {0}.
        return np.where(plain > len(self.words) + 1, plain - 2, plain)

    def _next_words(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return the next token of a template that fits the last sentence, wherever that is no second one of a name."""
        time, width = prefixes.shape[1], self.templates.shape[1]
        stops = prefixes == self.stop
        begun = np.where(stops, np.arange(1, time + 1), 0).max(axis=1, initial=0)
        place = np.minimum(time - begun, width - 1)
        columns = np.arange(width)
        plain = np.pad(self._without_names(prefixes), ((0, 0), (0, width)))
        last = np.take_along_axis(plain, begun[:, None] + columns, axis=1)
        templates = self._without_names(self.templates)
        fits = ((templates == last[:, None]) | (columns >= place[:, None])[:, None]).all(axis=2)
        told = stops.sum(axis=1)
        fits &= (np.arange(len(templates)) < len(OPENINGS)) == (told == 0)[:, None]
        token = templates[one_of(fits, random), place]
        named = self._next_name(prefixes, begun, random)
        return np.where(told >= self.sentences, self.padding, np.where(token == len(self.words), named, token))

    def _next_name(self, prefixes: Sequences, begun: npt.NDArray[np.int64], random: Draws) -> npt.NDArray[np.int64]:
        """Return the first token of a name: of one that this sentence has not said, or of a new character."""
        first = self._is_first(prefixes)
        rows, places = np.nonzero(first)
        pieces = prefixes[first] - self.first
        known, used = np.zeros((2, len(prefixes), self.pieces), dtype=np.bool_)
        known[rows, pieces] = True
        inside = places >= begun[rows]
        used[rows[inside], pieces[inside]] = True
        more = known.sum(axis=1, keepdims=True) < self.characters
        return self.first + one_of((known & ~used) | (~known & more), random)


def syllables(number: int) -> str:
    """Return a piece of a name: one syllable for the first numbers, then two, then three."""
    text = SYLLABLES[number % len(SYLLABLES)]
    return text if number < len(SYLLABLES) else syllables(number // len(SYLLABLES) - 1) + text


def one_of(possible: Flags, random: Draws) -> npt.NDArray[np.int64]:
    """Return for each row the number of one column of those that are possible, all equally likely."""
    return np.asarray(((1 - random.random_sample(possible.shape)) * possible).argmax(axis=1), dtype=np.int64)
