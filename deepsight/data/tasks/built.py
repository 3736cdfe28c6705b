"""A task from its specification, made once in a process."""

from __future__ import annotations

import functools
import json

from deepsight.data.tasks.task import Task
from deepsight.plug_ins import tasks
from deepsight.registry import Spec


def built(spec: Spec) -> Task:
    """Return the task of a complete specification; the same object for an equal one.

    Raises:
        UserError: its parameters do not go together.

    """
    return _built(json.dumps(spec, sort_keys=True))


@functools.lru_cache(maxsize=64)
def _built(spec: str) -> Task:
    # Asked for by everything that needs the number of token ids, and making some tasks takes time.
    return tasks.build(json.loads(spec))
