"""What runs elsewhere takes its files from the study's folder: it is the one place that every machine sees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ablations.running import PLUGIN_FOLDER


def shared_plugins(folder: Path, plugins: Iterable[Path]) -> tuple[Path, ...]:
    """Return for each plug-in file the equal copy that a prepared study keeps of it, itself where there is none."""
    return tuple(_shared(folder, plugin) for plugin in plugins)


def _shared(folder: Path, plugin: Path) -> Path:
    kept = (folder / PLUGIN_FOLDER / plugin.name).absolute()
    if kept.is_file() and plugin.is_file() and kept.read_bytes() == plugin.read_bytes():
        return kept
    return plugin.absolute()
