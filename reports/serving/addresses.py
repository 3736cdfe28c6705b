"""What an address of the server means: files of a study's report and of its trials, and nothing else."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import quote, unquote

from reports.writing import REPORT_FOLDER

SERVED = (REPORT_FOLDER, "trials")
"""The folders of a study whose files are served."""
TEXT = "text/plain; charset=utf-8"
TYPES = {
    **dict.fromkeys((".csv", ".json", ".jsonl", ".log", ".md", ".tex", ".txt", ".yaml", ".yml"), TEXT),
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
"""Kinds of files that are served, by their endings; weights, locks and pages of others are not."""
HTML = "text/html; charset=utf-8"
TABLES = f"/{REPORT_FOLDER}/tables/"


def place_of(folder: Path, path: str) -> Path | None:
    """Return the file or folder that a path means; None for anything that is not below `SERVED`.

    Args:
        folder: of the study.
        path: as it stands in the request, without a query.

    """
    parts = [unquote(part) for part in path.split("/")]
    if parts[-1] == "":
        parts.pop()
    if len(parts) < 2 or parts[0] != "" or parts[1] not in SERVED or not all(map(_is_name, parts[1:])):
        return None
    try:
        place = folder.joinpath(*parts[1:]).resolve(strict=True)
        inside = folder.resolve(strict=True) / parts[1]
    except (OSError, RuntimeError):  # nothing there, or links in a circle
        return None
    return place if place.is_relative_to(inside) else None


def kind_of(place: Path, path: str) -> str | None:
    """Return the kind of a file, by its path in the request; None where it is not served: of pages, tables are."""
    return HTML if place.suffix == ".html" and path.startswith(TABLES) else TYPES.get(place.suffix)


def listing(folder: Path) -> str:
    """Return a page with the names of what is in a folder; what is served is a link."""
    items = [_item(place) for place in sorted(folder.iterdir()) if _is_name(place.name)]
    name = html.escape(folder.name)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{name}</title>\n</head>\n<body>\n'
        f"<h1>{name}</h1>\n<ul>\n{''.join(items)}</ul>\n</body>\n</html>\n"
    )


def _item(place: Path) -> str:
    name = f"{place.name}/" if place.is_dir() else place.name
    shown = html.escape(name)
    if place.is_dir() or place.suffix in TYPES:
        shown = f'<a href="./{quote(name)}">{shown}</a>'
    return f"<li>{shown}</li>\n"


def _is_name(part: str) -> bool:
    """Whether a part of an address is the plain name of a file that is no hidden one."""
    return part.isprintable() and bool(part) and not part.startswith(".") and not {"/", "\\"} & set(part)
