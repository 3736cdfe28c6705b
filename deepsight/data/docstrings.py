"""Docstrings of Python files, read from their source without importing anything.

Run as a script, this file is one worker of `read_in_parallel`; it therefore imports the standard library only.
"""

from __future__ import annotations

import ast
import gc
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

PIPE_BYTES = 1 << 20
"""How far a worker may read ahead of the others (where the system allows; the usual 64 KiB elsewhere)."""

_Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings_of(source: bytes) -> list[str]:
    """Return the docstrings of a module, of its classes and functions, in source order, with indentation removed.

    A source that does not parse has none.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[str] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _Documented) and (text := (ast.get_docstring(node) or "").strip()):
            found.append(text)
        # Only statements are visited: docstrings stand nowhere else, and expressions are most of a tree.
        inner = [getattr(node, field, ()) for field in ("body", "handlers", "orelse", "finalbody", "cases")]
        statements = [child for part in inner if isinstance(part, list) for child in part]
        waiting.extend(reversed(statements))
    return found


def read(path: Path) -> list[str]:
    """Return the docstrings of one file; none if it cannot be read."""
    try:
        return docstrings_of(path.read_bytes())
    except OSError:
        return []


def read_in_parallel(paths: Sequence[Path], workers: int) -> Iterator[list[str]]:
    """Yield the docstrings of each file, in the order of `paths`, read by `workers` processes beside this one.

    Each worker is a fresh interpreter that runs this file: no fork of a process that may hold threads, and no second
    import of the caller's main module. It ends when its pipe does, so it cannot outlive the caller.

    Raises:
        RuntimeError: a worker died.

    """
    crew = [_start(paths[index::workers]) for index in range(min(workers, len(paths)))]
    try:
        for path, worker in zip(paths, itertools.cycle(crew), strict=False):
            assert worker.stdout is not None
            line = worker.stdout.readline()
            if not line.endswith(b"\n"):
                raise RuntimeError(f"the process that reads docstrings died at {path} (exit code {worker.wait()})")
            yield json.loads(line)
    finally:
        for worker in crew:
            worker.kill()
            worker.communicate()


def _start(paths: Sequence[Path]) -> subprocess.Popen[bytes]:
    # The list goes through a file: a pipe that nobody empties would block both sides.
    with tempfile.TemporaryFile() as names:
        names.write(json.dumps([str(path) for path in paths]).encode())
        names.seek(0)
        command = [sys.executable, "-I", "-S", "-W", "ignore", __file__]
        # A session of its own: Ctrl-C is for the caller, who then ends the workers without their tracebacks.
        return subprocess.Popen(
            command, stdin=names, stdout=subprocess.PIPE, pipesize=PIPE_BYTES, start_new_session=True
        )


def _work() -> None:
    gc.disable()  # syntax trees have no cycles, and looking for some takes most of the time
    try:
        for path in json.load(sys.stdin):
            sys.stdout.write(json.dumps(read(Path(path))) + "\n")
            sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    _work()
