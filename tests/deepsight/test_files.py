"""Files appear whole or not at all; digests do not depend on the order of keys."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.errors import UserError
from deepsight.files import (
    atomic_path,
    cache_folder,
    digest_of_file,
    digest_of_json,
    new_folder,
    read_json,
    remove_leftovers,
    write_json,
    write_text,
)


def test_a_written_file_is_whole_and_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file.txt"
    write_text(file, "größer")
    assert file.read_text(encoding="utf-8") == "größer"
    write_text(file, "again")
    assert [found.name for found in file.parent.iterdir()] == ["file.txt"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    write_text(file, "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, ["a good start", float("nan")])
    with contextlib.suppress(KeyboardInterrupt), atomic_path(file) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_new_folder_is_whole_or_not_there(is_there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    if is_there:
        folder.mkdir(parents=True)
    with contextlib.suppress(KeyboardInterrupt), new_folder(folder) as unfinished:
        (unfinished / "file").write_text("half")
        raise KeyboardInterrupt
    assert [*folder.parent.rglob("*")] == [folder] * is_there
    with new_folder(folder) as unfinished:
        (unfinished / "file").write_text("whole")
        assert not (folder / "file").exists()
    assert [*folder.parent.rglob("*")] == [folder, folder / "file"]
    with pytest.raises(UserError, match="not empty; choose a new folder"), new_folder(folder):
        pass


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_can_be_removed(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    write_text(file, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from deepsight.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert file.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [file]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(value=json_values)
def test_json_comes_back(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "value.json"
    write_json(file, value)
    assert read_json(file) == value


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@given(value=st.dictionaries(st.text(max_size=3), json_values, max_size=5))
def test_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert digest_of_json(value) == digest_of_json(backwards)


def test_digests(tmp_path: Path) -> None:
    assert digest_of_json({"b": 1, "a": [1.0, "ü"]}) == hashlib.sha256('{"a":[1.0,"ü"],"b":1}'.encode()).hexdigest()
    assert len({digest_of_json(value) for value in ({"a": 1}, {"a": "1"}, {"a": 1.5}, {"b": 1}, [1])}) == 5
    (tmp_path / "f").write_bytes(b"abc")
    assert digest_of_file(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSIGHT_CACHE", "a/b")
    assert cache_folder() == Path("a/b")
    monkeypatch.delenv("DEEPSIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "x")
    assert cache_folder() == Path("x/deepsight")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "home")
    assert cache_folder() == Path("home/.cache/deepsight")
