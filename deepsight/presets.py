"""Named, complete runs, and how a file may stand on one."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepsight.config import RunConfig, run_config
from deepsight.errors import UserError, suggestion
from deepsight.merging import Data, merged
from deepsight.yaml_files import parse_yaml, read_yaml


@functools.cache
def _all() -> dict[str, Data]:
    text = Path(__file__).with_name("presets.yaml").read_text(encoding="utf-8")
    presets: dict[str, Data] = parse_yaml(text, "presets.yaml")
    return presets


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return list(_all())


def preset(name: str) -> Data:
    """Return a preset as plain data, with what it stands on laid beneath.

    Raises:
        UserError: there is no preset of that name; the message gives the nearest.

    """
    if name not in _all():
        raise UserError(f"unknown preset {name!r}{suggestion(name, _all())}")
    return expanded(_all()[name])


def expanded(written: Mapping[str, Any]) -> Data:
    """Return plain data with its `preset` key, if any, replaced by that preset's content beneath its own."""
    content = dict(written)
    name = content.pop("preset", None)
    if name is None:
        return merged({}, content)
    if not isinstance(name, str):
        raise UserError(f"a preset's name is needed, not {name!r}", ("preset",))
    try:
        beneath = preset(name)
    except UserError as error:
        raise error.within("preset") from None
    return merged(beneath, content)


def load_run(source: str, settings: Mapping[str, Any] | None = None) -> RunConfig:
    """Return the configuration of a preset or of a YAML file, with `settings` (dotted keys) laid over it.

    Raises:
        UserError: naming the file and the key.

    """
    is_file = source.endswith((".yaml", ".yml")) or Path(source).is_file()
    if not is_file:
        return run_config(merged(preset(source), settings or {}))
    written = read_yaml(Path(source))
    if not isinstance(written, Mapping):
        raise UserError(f"{source}: a run is a mapping of keys to values")
    try:
        return run_config(merged(expanded(written), settings or {}))
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
