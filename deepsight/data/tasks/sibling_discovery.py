"""Sibling discovery: name two children of one parent that were never seen together."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Sequences
from deepsight.data.tasks.creative import Creative
from deepsight.data.tasks.task import Draws, integers
from deepsight.plug_ins import tasks

FIRST_CHILD, SECOND_CHILD, PARENT = range(3)


@tasks.register("sibling_discovery", source="Nagarajan et al. (2025), arXiv 2504.15266")
class SiblingDiscovery(Creative):
    """Name two different children of one parent, then the parent: ``siblings: c1 c2 parent``.

    Each parent has children of its own, and nothing in the sequence says whose child is whose: who is with whom must be
    learned by heart from the training set, and a pair that it does not have must be put together from that. With the
    parent last, it has to be chosen before it is said; with `parent_first`, the easy control, it is read.

    A pair is the same in both orders; it tells training from held-out sequences. Measures: `creativity`, `coherence`,
    `memorisation`, `uniqueness`, as `Creative` defines them. Chance of coherence is P·K·(K - 1)/V³ with
    V = P·K + P + 1. Who draws uniformly from all coherent sequences has creativity 0.79 on average with the defaults
    (`ceiling`; 0.78 with 2,000 samples). A published re-implementation: 5 parents, 500 children, 50,000 sequences.

    Args:
        parents: number of parents, P.
        children: children of each parent, K.
        training_set: different sequences to train on; c1 c2 and c2 c1 are two.
        parent_first: the parent comes before its children.
        samples: sequences that are made up to measure.

    Raises:
        UserError: the training set is larger than the number of different sequences.

    """

    def __init__(
        self,
        parents: Annotated[int, Field(ge=1)] = 20,
        children: Annotated[int, Field(ge=2)] = 50,
        training_set: Annotated[int, Field(ge=1)] = 5000,
        parent_first: bool = False,
        samples: Annotated[int, Field(ge=1)] = 1024,
    ) -> None:
        self.parents, self.children, self.parent_first = parents, children, parent_first
        self.training_set, self.samples = training_set, samples
        self.all_children = parents * children
        self.words = (*map(str, range(self.all_children)), *(f"p{parent}" for parent in range(parents)), "siblings:")
        self.prompt = self.all_children + parents
        self.length, self.answer_length = 4, 3
        self.places = (2, 3, 1) if parent_first else (1, 2, 3)
        self.forms, self.listings = self.all_children * (children - 1) // 2, 2
        self._check_training_set(f"parents {parents} and children {children}")

    def draw(self, random: Draws, count: int) -> Sequences:
        """Return sequences, (count, 4)."""
        first = integers(random, count, self.all_children)
        sequences = np.full((count, self.length), self.prompt, dtype=np.int64)
        named = (first, self._sibling_of(first, random), self._parent_of(first))
        sequences[:, self.places] = np.stack(named, axis=1)
        return sequences

    def coherent(self, sequences: Sequences) -> npt.NDArray[np.bool_]:
        """Return which sequences name two different children of their parent."""
        named = sequences[:, self.places]
        pair = named[:, :PARENT]
        theirs = self._parent_of(pair) == named[:, PARENT:]
        different = pair[:, FIRST_CHILD] != pair[:, SECOND_CHILD]
        found: npt.NDArray[np.bool_] = (theirs & (pair < self.all_children)).all(axis=1) & different
        return found

    def canonical(self, sequences: Sequences) -> Sequences:
        """Return the pair in one order, and the parent, (sequences, 3)."""
        named = sequences[:, self.places]
        return np.concatenate([np.sort(named[:, :PARENT], axis=1), named[:, PARENT:]], axis=1)

    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return any child, any of its siblings, or their parent; all coherent sequences come out equally often."""
        count, place = prefixes.shape
        asked = self.places.index(place)
        if asked == SECOND_CHILD:
            return self._sibling_of(prefixes[:, self.places[FIRST_CHILD]], random)
        if asked == FIRST_CHILD and self.parent_first:
            parents = prefixes[:, self.places[PARENT]] - self.all_children
            return parents * self.children + integers(random, count, self.children)
        if asked == FIRST_CHILD:
            return integers(random, count, self.all_children)
        if self.parent_first:
            return self.all_children + integers(random, count, self.parents)
        return self._parent_of(prefixes[:, self.places[FIRST_CHILD]])

    def _parent_of(self, children: Sequences) -> npt.NDArray[np.int64]:
        return self.all_children + children // self.children

    def _sibling_of(self, children: npt.NDArray[np.int64], random: Draws) -> npt.NDArray[np.int64]:
        """Return another child of the same parent for each."""
        family, number = np.divmod(children, self.children)
        further = 1 + integers(random, len(children), self.children - 1)
        return family * self.children + (number + further) % self.children
