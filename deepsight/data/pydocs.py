"""The documentation that every Python installation carries: a real English corpus, without a download."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import platform
import re
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deepsight.data.corpora import Corpus, Document
from deepsight.data.docstrings import read_in_parallel
from deepsight.errors import UserError, suggestion
from deepsight.files import digest_of_json

SCHEMA = 1
"""Raised when equal packages would give another text."""

STANDARD_LIBRARY = "stdlib"

SHORTEST = 16
"""Docstrings of fewer characters say nothing ("Ditto.", "See above."); they are left out."""

_TEST_FOLDERS = {"test", "tests", "idle_test"}
_NO_MODULES = {*_TEST_FOLDERS, "site-packages", "dist-packages", "__pycache__"}
_GPU_ONLY = re.compile(r"(nvidia|cuda|triton|pytorch-triton)(-.*)?$")


class PythonDocumentation(Corpus):
    """Docstrings and language topics of the standard library and of DeepSight's installed dependencies.

    One document a module (its docstrings in source order, with blank lines between) and one a topic of
    `pydoc_data.topics`. Nothing is imported; tests, and files that do not parse, are left out. A docstring that occurs
    again is kept where it came first. Some 34 MB in 7,000 documents.
    """

    def __init__(self, packages: list[str] | None = None) -> None:
        """Choose the sources.

        Args:
            packages: ``stdlib`` and names of required distributions, such as ``[stdlib, numpy]``; all when null.

        Raises:
            UserError: a name is neither ``stdlib`` nor an installed dependency.

        """
        known = [STANDARD_LIBRARY, *required_distributions()]
        chosen = known if packages is None else [_known(package, known) for package in packages]
        self._packages = sorted(set(chosen), key=known.index)

    advice = "for example with more packages"

    def documents(self) -> Iterator[Document]:
        """Yield the documents: standard library, topics, then the distributions by name."""
        return self.documents_in_parallel(1)

    def documents_in_parallel(self, workers: int) -> Iterator[Document]:
        """Yield the same documents in the same order, parsing in `workers` processes."""
        modules = [module for package in self._packages for module in _modules(package)]
        once = _Once()
        if STANDARD_LIBRARY in self._packages:
            for topic, text in _topics().items():
                yield from once.document(f"pydoc_data.topics:{topic}", [text.strip()])
        found = read_in_parallel([path for _, path in modules], workers)
        for (name, _), docstrings in zip(modules, found, strict=True):
            yield from once.document(name, docstrings)

    def fingerprint(self) -> str:
        """Return a digest of the Python version and of each chosen distribution's version."""
        versions = [[name, metadata.version(name)] for name in self._packages if name != STANDARD_LIBRARY]
        python = [platform.python_implementation(), platform.python_version()]
        standard_library = python if STANDARD_LIBRARY in self._packages else None
        return digest_of_json({"schema": SCHEMA, "stdlib": standard_library, "distributions": sorted(versions)})


@functools.cache
def required_distributions() -> tuple[str, ...]:
    """Return the installed distributions that DeepSight needs, directly or not, by name; none that only a GPU needs.

    Raises:
        UserError: DeepSight itself is not installed, so nobody knows what it needs.

    """
    seen: set[tuple[str, str]] = set()
    waiting = [("deepsight", "")]
    installed: set[str] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        installed.add(name)
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, asked) for asked in ("", *sorted(requirement.extras))]
    if not installed:
        raise UserError("the corpus pydocs needs DeepSight installed (pip install -e .), to know its dependencies")
    return tuple(sorted(name for name in installed if name != "deepsight" and not _GPU_ONLY.match(name)))


class _Once:
    """Lets each docstring through once."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def document(self, name: str, texts: Iterable[str]) -> Iterator[Document]:
        """Yield one document of the texts that are new, or nothing if none is."""
        new = [text for text in texts if len(text) >= SHORTEST and self._is_new(text)]
        if new:
            yield Document(name, "\n\n".join(new))

    def _is_new(self, text: str) -> bool:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True


def _known(package: str, known: list[str]) -> str:
    name = canonicalize_name(package)
    if name not in known:
        raise UserError(f"unknown package {package!r}{suggestion(package, known)}", ("packages",))
    return name


def _modules(package: str) -> list[tuple[str, Path]]:
    """Return name and file of each module of a package, by name."""
    if package == STANDARD_LIBRARY:
        folder = Path(sysconfig.get_path("stdlib"))
        places = [(path.relative_to(folder).as_posix(), path) for path in _python_files(folder)]
    else:
        files = metadata.files(package) or []
        places = [(file.as_posix(), Path(str(file.locate()))) for file in files if file.suffix == ".py"]
    return sorted((_module_name(place), path) for place, path in places if _has_documentation(place))


def _python_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NO_MODULES)
        yield from (Path(parent, name) for name in sorted(files) if name.endswith(".py"))


def _has_documentation(place: str) -> bool:
    *folders, file = place.split("/")
    is_test = file.startswith("test_") or file.endswith("_test.py") or file == "conftest.py"
    return not is_test and ".." not in folders and _TEST_FOLDERS.isdisjoint(folders)


def _module_name(place: str) -> str:
    parts = PurePosixPath(place).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _topics() -> dict[str, str]:
    """Return the texts of `pydoc_data.topics`, by topic; none where Python comes without them."""
    path = Path(sysconfig.get_path("stdlib"), "pydoc_data", "topics.py")
    if not path.is_file():
        return {}
    for statement in ast.parse(path.read_bytes()).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(statement.value)
            return dict(sorted(topics.items()))
    return {}
