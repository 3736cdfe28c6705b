"""How annotations are checked while tests run; named by the import hook in conftest."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# As everywhere in Python's typing, an int will do where a float is asked for.
typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
