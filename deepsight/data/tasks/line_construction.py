"""Line construction: list directed edges that make one path."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Sequences
from deepsight.data.tasks.edge_lists import EdgeLists
from deepsight.plug_ins import tasks


@tasks.register("line_construction", source="Nagarajan et al. (2025), arXiv 2504.15266")
class LineConstruction(EdgeLists):
    """List directed edges, in any order, that make one path: ``line: a b, c d, …``.

    As `circle_construction`, but nothing has to be closed. Commas are left out, and there is no end to say, since the
    number of edges is known.

    A line is the same in whatever order its edges are listed, and another one the other way round; it tells training
    from held-out sequences. Measures: `creativity`, `coherence`, `memorisation`, `uniqueness`, as `Creative` defines
    them. There are C(V, n)·n! lines, each with (n - 1)! listings, so that chance of coherence is
    C(V, n)·n!·(n - 1)!/(V + 1)^(2n - 2). Who draws uniformly from all coherent sequences has creativity 1.0000 on
    average with the defaults (`ceiling`). Vertices and training set are the published ones.

    Args:
        vertices: number of vertices, V.
        chosen: vertices on a line, n.
        training_set: different sequences to train on; the same line listed in another order is another one.
        samples: sequences that are made up to measure.

    Raises:
        UserError: more vertices are chosen than there are, or the training set is larger than the number of different
            sequences.

    """

    closed: ClassVar[bool] = False

    def __init__(
        self,
        vertices: Annotated[int, Field(ge=2)] = 15,
        chosen: Annotated[int, Field(ge=2)] = 9,
        training_set: Annotated[int, Field(ge=1)] = 10_000,
        samples: Annotated[int, Field(ge=1)] = 1024,
    ) -> None:
        super().__init__("line:", vertices, chosen, chosen - 1, math.factorial(chosen), training_set, samples)

    def _whole(self, edges: Sequences, steps: Sequences) -> npt.NDArray[np.bool_]:
        """Return which walks went along all edges from a vertex that none leads to."""
        begins = ~(edges[..., 1] == steps[:, :1]).any(axis=1)
        found: npt.NDArray[np.bool_] = begins & (steps[:, -1] != self.prompt)
        return found
