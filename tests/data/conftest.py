from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DEEPSIGHT_CACHE", str(folder))
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of sixty short text files, each a document of its own, with words that repeat."""
    folder = tmp_path / "texts"
    folder.mkdir()
    words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "naïve", "café", "owners", "12345", "✨"]
    for number in range(60):
        chosen = [words[(number * 7 + step * step) % len(words)] for step in range(20 + number)]
        (folder / f"{number:02d}.txt").write_text(" ".join(chosen) + f"\n\nfile {number}\n", encoding="utf-8")
    return folder
