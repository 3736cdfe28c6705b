"""Circle construction: list directed edges that close into one circle."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Sequences
from deepsight.data.tasks.edge_lists import EdgeLists
from deepsight.plug_ins import tasks


@tasks.register("circle_construction", source="Nagarajan et al. (2025), arXiv 2504.15266")
class CircleConstruction(EdgeLists):
    """List directed edges, in any order, that close into one circle: ``circle: a b, c d, …``.

    The order of the edges says nothing of the circle that they were taken from, so each must fit a whole that is never
    said. Commas are left out, and there is no end to say, since the number of edges is known.

    A circle is the same in whatever order its edges are listed, and another one the other way round; it tells training
    from held-out sequences. Measures: `creativity`, `coherence`, `memorisation`, `uniqueness`, as `Creative` defines
    them. There are C(V, n)·(n - 1)! circles, each with n! listings, so that chance of coherence is
    C(V, n)·(n - 1)!·n!/(V + 1)^(2n). Who draws uniformly from all coherent sequences has creativity 0.9999 on average
    with the defaults (`ceiling`). Vertices and training set are the published ones.

    Args:
        vertices: number of vertices, V.
        chosen: vertices on a circle, n.
        training_set: different sequences to train on; the same circle listed in another order is another one.
        samples: sequences that are made up to measure.

    Raises:
        UserError: more vertices are chosen than there are, or the training set is larger than the number of different
            sequences.

    """

    closed: ClassVar[bool] = True

    def __init__(
        self,
        vertices: Annotated[int, Field(ge=3)] = 15,
        chosen: Annotated[int, Field(ge=3)] = 9,
        training_set: Annotated[int, Field(ge=1)] = 10_000,
        samples: Annotated[int, Field(ge=1)] = 1024,
    ) -> None:
        super().__init__("circle:", vertices, chosen, chosen, math.factorial(chosen - 1), training_set, samples)

    def _whole(self, edges: Sequences, steps: Sequences) -> npt.NDArray[np.bool_]:
        """Return which walks are back at their start after all edges, and not before."""
        back = steps[:, 1:] == steps[:, :1]
        found: npt.NDArray[np.bool_] = back[:, -1] & ~back[:, :-1].any(axis=1)
        return found
