"""YAML as people write it: 3e-4 is a number, and a key that stands twice is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from deepsight.errors import UserError


class _Loader(yaml.SafeLoader):
    """The safe loader, reading floats by the rules of YAML 1.2 (3e-4) and refusing duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict)):
                continue
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """The safe dumper, with short lists in one line."""


def _represent_list(dumper: _Dumper, values: list[Any]) -> yaml.Node:
    flat = not any(isinstance(value, (list, dict)) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)


_Dumper.add_representer(list, _represent_list)


def parse_yaml(text: str, where: str) -> Any:
    """Read YAML text.

    Raises:
        UserError: the text is no YAML; the message names `where`, the line, and the problem.

    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise UserError(f"{where}: this is nested too deeply") from None
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise UserError(f"{where}{line}: this is not valid YAML: {problem}") from None


def read_yaml(file: Path) -> Any:
    """Read a YAML file.

    Raises:
        UserError: the file is missing, no text, or no YAML.

    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file") from None
    except IsADirectoryError:
        raise UserError(f"{file}: this is a folder; a YAML file is needed") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: this is not a text file in UTF-8") from None
    return parse_yaml(text, str(file))


def dump_yaml(value: Any) -> str:
    """Return a value as YAML, keys in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
