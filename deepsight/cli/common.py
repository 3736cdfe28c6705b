"""What the commands share: options, and how an error is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

PRESETS = (
    "tiny, small, deepsight-paper, encoder-decoder-paper, baseline-paper, smaller-baseline-paper, "
    "dropout-baseline-paper, gpt2-124m"
)
STUDIES = (
    "demo; the published comparisons paper-distances, paper-horizons, paper-vs-baseline, paper-vs-sibling, "
    "paper-sibling-distances, paper-sibling-positions, paper-sibling-vs-baseline; aggregators, layer-splits, norms; "
    "objectives, objectives-lighter, objectives-little-text, regularisers, systems, vs-baseline-little-text; "
    "attachment, degree, discovery, foresight, horizon-dial, myopia, planning, planning-quick"
)
"""The names of presets and built-in studies as help shows them; written here so that help need not read them."""

Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE.py", help="A Python file that registers components; may be repeated."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value, such as training.steps=500; may be repeated."),
]


def load_plugins(plugins: Sequence[Path] | None) -> list[Path]:
    """Load plug-in files and return them as a list."""
    from deepsight.plug_ins import load_plugins as load

    files = list(plugins or [])
    load(files)
    return files


def parsed_settings(settings: Sequence[str] | None, option: str = "--set") -> dict[str, Any]:
    """Return dotted key → value from the KEY=VALUE texts of an option; values are read as YAML.

    Raises:
        UserError: a text has no equals sign, or its value is no YAML.

    """
    from deepsight.errors import UserError
    from deepsight.yaml_files import parse_yaml

    found = {}
    for text in settings or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            example = "training.steps=500" if option == "--set" else "gpus_per_trial=0.5"
            raise UserError(f"{option} {text}: write it as key=value, such as {example}")
        found[key.strip()] = parse_yaml(value, f"{option} {key}")
    return found


def other_measures(row: dict[str, Any]) -> str:
    """Return what an evaluation measured beside losses: bits per byte of text, or a task's main measure."""
    if "bits_per_byte" in row:
        return f" ({row['bits_per_byte']:.4f} bits per byte)"
    for column, value in row.items():
        if column.startswith("task:") and column.endswith("/accuracy"):
            name = column.removeprefix("task:").removesuffix("/accuracy").replace("_", " ")
            chance = row.get(column.replace("/accuracy", "/chance"))
            return f" ({name} {value:.1%}" + (f", chance {chance:.1%})" if chance is not None else ")")
    return ""


def quoted_command(*words: str) -> str:
    """Return a command line that a shell reads back as these words."""
    import shlex

    return shlex.join(words)
