"""Where studies come from: files, and the studies that come with the project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.scaling import scaled
from ablations.study import Study
from ablations.written import check_name, checked
from deepsight.errors import UserError, suggestion
from deepsight.merging import with_dotted_keys
from deepsight.validation import validated
from deepsight.yaml_files import dump_yaml, read_yaml

BUILT_IN = Path(__file__).with_name("studies")


def built_in_names() -> list[str]:
    """Return the names of the studies that come with the project."""
    return sorted(file.stem for file in BUILT_IN.glob("*.yaml"))


def study_file(source: str) -> Path:
    """Return the file of a study, given as a path or as a built-in name.

    Raises:
        UserError: there is neither.

    """
    if Path(source).is_file():
        return Path(source)
    if source in built_in_names():
        return BUILT_IN / f"{source}.yaml"
    if source.endswith((".yaml", ".yml")) or "/" in source:
        raise UserError(f"{source}: there is no such file")
    raise UserError(f"unknown study {source!r}{suggestion(source, built_in_names())}")


def read_study(file: Path, preset: str | None = None) -> Study:
    """Read and check a study file; its runs are checked when they are planned.

    Args:
        file: to read.
        preset: that the study's base stands on instead of its own.

    Raises:
        UserError: naming the file and the key.

    """
    written = read_yaml(file)
    try:
        if not isinstance(written, Mapping):
            raise UserError("a study is a mapping of keys to values")
        content = _prepared(checked(written))
        for key in ("name", "title"):
            if isinstance(content.get(key), str) and content[key]:
                _check_name(content[key], f"a study's {key}", key)
        if isinstance(content.get("tune"), Mapping):
            content["tune"] = with_dotted_keys(content["tune"])
        if isinstance(content.get("groups"), Mapping):
            for name in content["groups"]:
                _check_name(name, "a group's name", "groups")
            content["groups"] = {
                name: _prepared(group, "groups", name) if isinstance(group, Mapping) else group
                for name, group in content["groups"].items()
            }
        if isinstance(content.get("scales"), Mapping):
            content["scales"] = {name: _scale(name, scale) for name, scale in content["scales"].items()}
        study = validated(Study, content)
        return study if preset is None else scaled(study, preset)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def kept_text(file: Path, preset: str | None = None) -> str:
    """Return what is kept of a study beside its trials: its file, or what the file means at another preset.

    Either says all that the study is: it is read again without naming the preset.

    Raises:
        UserError: as `read_study`.

    """
    if preset is None:
        return file.read_text(encoding="utf-8")
    return dump_yaml(read_study(file, preset).model_dump(mode="json", exclude_defaults=True))


def _prepared(design: Mapping[str, Any], *place: str) -> dict[str, Any]:
    """Return a written design with dotted keys for factors, and arms without changes as empty ones."""
    content = dict(design)
    if isinstance(content.get("factors"), Mapping):
        content["factors"] = with_dotted_keys(content["factors"])
    if isinstance(content.get("arms"), Mapping):
        for name in content["arms"]:
            _check_name(name, "an arm's name", *place, "arms")
        content["arms"] = {name: {} if arm is None else arm for name, arm in content["arms"].items()}
    return content


def _scale(name: str, written: Any) -> Any:
    if not isinstance(written, Mapping):
        return {} if written is None else written
    return {key: value for key, value in _prepared(written, "scales", name).items() if value is not None}


def _check_name(name: str, what: str, *place: str) -> None:
    try:
        check_name(name, what)
    except UserError as error:
        raise error.within(*place) from None
