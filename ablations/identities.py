"""What names a trial: a digest of its configuration, of its text, and of the plug-in files that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepsight.config import RunConfig
from deepsight.data.of_run import fingerprint_of
from deepsight.plug_ins import REGISTRIES, architectures, corpora, loaded_plugins, objectives, tasks
from deepsight.registry import Registry


class Identities:
    """Names runs; each corpus is looked at once."""

    def __init__(self) -> None:
        self._fingerprints: dict[str, str] = {}

    def of(self, config: RunConfig) -> str:
        """Return the id of a trial, 64 hexadecimal digits.

        Raises:
            UserError: the corpus cannot be found.

        """
        return config.identity(self._fingerprint(config), _plugins_used(config))

    def _fingerprint(self, config: RunConfig) -> str:
        key = repr(config.data.task_spec() or config.data.corpus_spec())
        if key not in self._fingerprints:
            self._fingerprints[key] = fingerprint_of(config.data)
        return self._fingerprints[key]


def _plugins_used(config: RunConfig) -> dict[str, str]:
    """Return component → digest of its plug-in file, for every component of the run that a plug-in file defines."""
    digests = {str(path): digest for path, digest in loaded_plugins().items()}
    used: dict[str, str] = {}

    def look(registry: Registry[Any], name: str) -> None:
        if name in registry and (digest := digests.get(registry[name].file)):
            used[f"{registry.kind} {name}"] = digest

    look(architectures, config.model.architecture_name)
    if (task := config.data.task_spec()) is not None:
        look(tasks, task["name"])
    else:
        look(corpora, config.data.corpus_spec()["name"])
    for spec in config.objective:
        look(objectives, spec["name"])
        for part in spec.values():
            if isinstance(part, Mapping) and "name" in part:
                # Which kind a parameter holds is the objective's business; a part is looked for in all of them.
                for registry in REGISTRIES:
                    look(registry, str(part["name"]))
    return used
