"""How annotations are checked while tests run; named by the import hook in conftest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jaxtyping
from beartype import BeartypeConf, beartype

# As everywhere in Python's typing, an int will do where a float is asked for.
typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Leave annotations alone for a while, as outside of tests.

    For what runs as a person would run it, and for a pass that is repeated a hundred times after it has been checked.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
