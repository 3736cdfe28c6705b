"""What the arms of a study cost; each shape is counted once in a process, however often a study is planned."""

from __future__ import annotations

import functools
import json
from typing import Any

from deepsight.config import RunConfig
from deepsight.counting import Cost, cost_of
from deepsight.plug_ins import architectures, objectives

MOST_KNOWN = 10_000


def known_cost(config: RunConfig) -> Cost:
    """Return what a run costs. Learning rates, steps, text and seed are no part of that."""
    factories = (
        architectures[config.model.architecture_name].factory,
        *(objectives[str(spec["name"])].factory for spec in config.objective),
    )
    return _counted(_Shape(config, factories))


class _Shape:
    """A run as the counting sees it: equal where nothing differs that counts."""

    def __init__(self, config: RunConfig, factories: tuple[Any, ...]) -> None:
        self.config = config
        data = config.complete()
        step = [data["training"]["batch_size"], data["training"]["myopic"], data["runtime"]["micro_batch_size"]]
        self._key = json.dumps([data["model"], data["objective"], config.data.tokens, step], sort_keys=True)
        self._factories = factories

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and (self._key, self._factories) == (other._key, other._factories)

    def __hash__(self) -> int:
        return hash((self._key, self._factories))


@functools.lru_cache(MOST_KNOWN)
def _counted(shape: _Shape) -> Cost:
    return cost_of(shape.config)
