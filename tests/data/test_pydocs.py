import ast
import json
import sys
import sysconfig
from pathlib import Path

import pytest

from deepsight.data import docstrings, pydocs
from deepsight.data.pydocs import SHORTEST, PythonDocumentation, required_distributions
from deepsight.errors import UserError
from deepsight.plug_ins import corpora

SOURCE = b'''"""Of the module."""
class First:
    """Of the class.

        Indented.
    End.
    """
    def method(self):
        "Of the method."
        def inner():
            \'\'\'Of the inner function.\'\'\'
if True:
    async def conditional():
        """Of the conditional function."""
else:
    try:
        pass
    except ValueError:
        def handler(): """Of the handler."""
    finally:
        def last(): """Of the last."""
match 1:
    case 1:
        def case(): """Of the case."""
x = """no docstring"""
'''


def test_docstrings_come_in_source_order_without_indentation() -> None:
    assert docstrings.docstrings_of(SOURCE) == [
        "Of the module.",
        "Of the class.\n\n    Indented.\nEnd.",
        "Of the method.",
        "Of the inner function.",
        "Of the conditional function.",
        "Of the handler.",
        "Of the last.",
        "Of the case.",
    ]


@pytest.mark.parametrize("source", [b"def (:", b"\0", b"# coding: nonsense\n", b"(" * 5000, b"\xff\xfe", b""])
def test_what_does_not_parse_has_none(source: bytes) -> None:
    assert docstrings.docstrings_of(source) == []


def test_every_docstring_of_real_modules_is_found() -> None:
    paths = [*sorted(Path(json.__file__).parent.glob("*.py")), Path(ast.__file__), Path(sysconfig.__file__)]
    for path in paths:
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, documented)]
        expected = sorted(text for node in nodes if (text := (ast.get_docstring(node) or "").strip()))
        assert sorted(docstrings.docstrings_of(path.read_bytes())) == expected


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_parallel_reading_keeps_the_order(workers: int, tmp_path: Path) -> None:
    paths = []
    for number in range(20):
        paths.append(tmp_path / f"{number}.py")
        paths[-1].write_text(f'"""Number {number}: é \\ud800."""\n' * (number % 3))
    expected = [[f"Number {number}: é \ud800."] * min(number % 3, 1) for number in range(20)]
    assert list(docstrings.read_in_parallel([*paths, tmp_path / "missing.py"], workers)) == [*expected, []]


def test_a_dead_worker_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dies.py").write_text("import os; os._exit(3)")
    monkeypatch.setattr(docstrings, "__file__", str(tmp_path / "dies.py"))
    with pytest.raises(RuntimeError, match=r"died at .*exit code 3"):
        list(docstrings.read_in_parallel([tmp_path / "dies.py"], 1))


def test_the_corpus_is_deterministic_and_each_docstring_stands_once() -> None:
    first = list(PythonDocumentation(["packaging", "click"]).documents())
    second = list(PythonDocumentation(["click", "packaging", "click"]).documents_in_parallel(2))
    assert first == second
    names = [document.name for document in first]
    assert names == sorted(names)
    assert {"click", "click.core", "packaging.version"} <= set(names)
    version = next(document.text for document in first if document.name == "packaging.version")
    assert "This class abstracts handling of a project's versions." in version
    pieces = [piece for document in first for piece in set(document.text.split("\n\n")) if len(piece) > 400]
    assert len(pieces) == len(set(pieces))
    assert min(len(document.text) for document in first) >= SHORTEST


def test_a_docstring_that_occurs_again_is_kept_where_it_came_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = "Said in several places.", "Said in one place only."
    sources = {"a": [shared], "b": [shared, own, "Too short."], "c": [shared]}
    for name, texts in sources.items():
        (tmp_path / f"{name}.py").write_text("\n".join(f'class C{len(text)}:\n    "{text}"' for text in texts))
    monkeypatch.setattr(pydocs, "_modules", lambda package: [(name, tmp_path / f"{name}.py") for name in sources])
    found = {document.name: document.text for document in PythonDocumentation(["click"]).documents()}
    assert found == {"a": shared, "b": own}


def test_the_standard_library_is_read_without_importing_it() -> None:
    documents = {document.name: document.text for document in PythonDocumentation(["stdlib"]).documents_in_parallel(2)}
    assert "antigravity" not in sys.modules
    assert "JSON (JavaScript Object Notation)" in documents["json"]
    assert "Event loop and event loop policy." in documents["asyncio.events"]
    assert not [name for name in documents if {"test", "tests", "site-packages"} & set(name.split("."))]
    assert sum(len(text) for text in documents.values()) > 1_000_000
    topics = [name for name in documents if name.startswith("pydoc_data.topics:")]
    if Path(sysconfig.get_path("stdlib"), "pydoc_data", "topics.py").is_file():
        assert "pydoc_data.topics:assert" in topics
        assert list(documents)[: len(topics)] == topics


def test_the_dependencies_are_those_that_are_required() -> None:
    known = required_distributions()
    assert {"torch", "numpy", "huggingface-hub", "typing-extensions"} <= set(known)
    assert not {"deepsight", "pytest", "hypothesis", "ruff", "mypy"} & set(known)
    assert all(pydocs._GPU_ONLY.match(name) for name in ("nvidia-cublas-cu12", "triton", "cuda-bindings"))
    assert not any(pydocs._GPU_ONLY.match(name) for name in ("numpy", "torch", "tritonclient"))


def test_the_fingerprint_follows_versions_and_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(*packages: str) -> str:
        return PythonDocumentation(list(packages)).fingerprint()

    before = fingerprint("click", "packaging")
    assert before == fingerprint("packaging", "click")
    assert len({before, fingerprint("click"), fingerprint("stdlib"), PythonDocumentation().fingerprint()}) == 4
    monkeypatch.setattr(pydocs.metadata, "version", lambda name: "0.0")
    assert fingerprint("click", "packaging") != before


def test_an_unknown_package_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"^packages: unknown package 'nunpy'; did you mean 'numpy'\?"):
        PythonDocumentation(["nunpy"])


def test_it_is_reached_through_the_registry() -> None:
    assert corpora.resolve("pydocs") == {"name": "pydocs", "packages": None}
    assert isinstance(corpora.build({"name": "pydocs", "packages": ["Click"]}), PythonDocumentation)
