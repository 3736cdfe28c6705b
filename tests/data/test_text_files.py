import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data import fingerprints
from deepsight.data.corpora import Document
from deepsight.data.files import Files
from deepsight.data.plain_text import LONGEST_LINE, PASSAGE_CHARACTERS
from deepsight.errors import UserError
from deepsight.plug_ins import corpora

WIKITEXT = """ \n = A small <unk> town = \n \n The town lies by a river . \n \n = = History = = \n \n It grew .
 = Not a heading = \n And so on . \n \n = Second article = \n \n Other text . \n"""


def named(path: Path, **parameters: Any) -> dict[str, str]:
    documents = list(Files(str(path), **parameters).documents())
    assert len({document.name for document in documents}) == len(documents)
    return {document.name: document.text for document in documents}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_is_read_in_the_order_of_paths_with_every_kind(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "plain\ntext\n")
    write(
        tmp_path / "a" / "z.jsonl",
        '{"text": "first"}\n\n{"text": "third", "more": 1}\n{"text": null}\n{"text": "  "}\n',
    )
    parquet.write_table(pa.table({"text": ["row one", None, "row three"]}), tmp_path / "c.parquet")
    write(tmp_path / ".hidden" / "x.txt", "not read")
    write(tmp_path / "notes.md", "not read")
    assert named(tmp_path) == {
        "a/z.jsonl:1": "first",
        "a/z.jsonl:3": "third",
        "b.txt:": "plain\ntext\n",
        "c.parquet:1": "row one",
        "c.parquet:3": "row three",
    }
    assert list(named(tmp_path)) == sorted(named(tmp_path))


def test_another_column(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"body": "here"}\n')
    parquet.write_table(pa.table({"body": ["there"] * 600, "text": [1] * 600}), tmp_path / "b.parquet")
    assert list(named(tmp_path, text_column="body").values()) == ["here"] + ["there"] * 600


def test_wikitext_is_cut_at_titles_only(tmp_path: Path) -> None:
    path = write(tmp_path / "wiki.txt", WIKITEXT)
    assert named(path) == named(path, documents="article")
    first, second = named(path).items()
    assert first[0] == ":A small <unk> town"
    assert "= = History = =" in first[1]
    assert "= Not a heading =" in first[1]
    assert second == (":Second article", "= Second article = \n \n Other text .")


def test_text_before_the_first_title_is_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "wiki.txt", "About this file.\n\n" + WIKITEXT)
    assert list(named(path, documents="article")) == [":", ":A small <unk> town", ":Second article"]


def test_the_only_text_file_is_cut_in_passages_at_blank_lines(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {number}. " + "Some words. " * 60 for number in range(50)]
    path = write(tmp_path / "book.txt", "\n\n".join(paragraphs))
    found = list(named(path).values())
    assert len(found) > 5
    assert all(PASSAGE_CHARACTERS - 2 <= len(text) < PASSAGE_CHARACTERS + 1000 for text in found[:-1])
    assert [part.strip() for text in found for part in text.split("\n\n")] == [part.strip() for part in paragraphs]


def test_among_others_a_file_is_one_document(tmp_path: Path) -> None:
    write(tmp_path / "one.txt", "a\n\n" * 5000)
    write(tmp_path / "two.txt", "b")
    assert list(named(tmp_path)) == ["one.txt:", "two.txt:"]
    assert len(named(tmp_path, documents="passage")) > 2
    assert len(named(tmp_path, documents="line")) == 5001


def test_a_line_without_end_is_cut_too(tmp_path: Path) -> None:
    text = "word " * 100_000
    found = list(named(write(tmp_path / "one.txt", text)).values())
    assert max(map(len, found)) <= LONGEST_LINE
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=300))
def test_no_visible_character_is_lost(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.mktemp("any") / "x.txt", text)
    read = path.read_text(encoding="utf-8")
    for documents in ("auto", "article", "file", "passage", "line"):
        joined = "".join(document.text for document in Files(str(path), documents=documents).documents())
        assert "".join(joined.split()) == "".join(read.split())


def test_a_byte_order_mark_and_foreign_line_ends_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert list(named(path, documents="line").values()) == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": oh}\n', ":2: this line is not JSON"),
        ('{"text": "a"}\n\n{"txet": "b"}\n', ":3: there is no column 'text'; did you mean 'txet'?"),
        ('["text"]\n', ":1: a line must hold an object with the key 'text'"),
        ('{"text": 5}\n', ":1: the column 'text' must hold text, not int"),
    ],
)
def test_a_bad_json_line_is_named_with_its_file(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "x.jsonl", content)
    with pytest.raises(UserError) as caught:
        named(path)
    assert str(caught.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("documents", ["auto", "article", "file", "passage", "line"])
def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path: Path, documents: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"fine\nfine\nna\xefve\n")
    with pytest.raises(UserError, match=r"x\.txt:3: this line is not UTF-8"):
        named(path, documents=documents)


def test_bad_parquet(tmp_path: Path) -> None:
    write(tmp_path / "broken.parquet", "no table")
    with pytest.raises(UserError, match=r"broken\.parquet: this is not a Parquet file"):
        named(tmp_path)
    parquet.write_table(pa.table({"body": ["a"], "n": [1]}), tmp_path / "broken.parquet")
    with pytest.raises(UserError, match=r"there is no column 'text'; known: body, n"):
        named(tmp_path)
    with pytest.raises(UserError, match=r"broken\.parquet: row 1: the column 'n' must hold text, not int"):
        named(tmp_path, text_column="n")


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "corpus.txt", "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UserError, match=r"^path: there is no file or folder '.*corpsu\.txt'; did you mean '.*corpus\.txt'\?"
    ):
        Files(str(tmp_path / "corpsu.txt"))
    with pytest.raises(UserError, match=r"holds no file that ends with \.txt, \.jsonl, \.parquet"):
        Files(str(tmp_path / "empty"))
    write(tmp_path / "x.csv", "x")
    with pytest.raises(UserError, match=r"x\.csv' is no file that can be read as text"):
        Files(str(tmp_path / "x.csv"))
    with pytest.raises(UserError, match=r"documents: unknown value 'lines'; did you mean 'line'\?"):
        corpora.resolve({"name": "files", "path": "x", "documents": "lines"})


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    def fingerprint(path: Path, **parameters: Any) -> str:
        return Files(str(path), **parameters).fingerprint()

    one, other = (write(tmp_path / folder / "x.txt", "same") for folder in ("one", "other"))
    moved = write(tmp_path / "y.txt", "same")
    assert fingerprint(one) == fingerprint(other) == fingerprint(moved)
    assert fingerprint(one.parent) == fingerprint(other.parent)
    assert fingerprint(one, documents="line") != fingerprint(one)
    write(one, "else")
    assert fingerprint(one) != fingerprint(other)
    before = fingerprint(other.parent)
    other.rename(other.with_name("renamed.txt"))
    assert fingerprint(other.parent) != before
    write(other.parent / "more.txt", "")
    assert fingerprint(other.parent) != fingerprint(write(tmp_path / "third" / "x.txt", "same").parent)


def test_settled_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.txt", "settled")
    os.utime(path, (time.time() - 60,) * 2)
    before = Files(str(path)).fingerprint()
    monkeypatch.setattr(fingerprints, "digest_of_file", lambda _: pytest.fail("read again"))
    assert Files(str(path)).fingerprint() == before
    monkeypatch.undo()
    write(path, "changed")
    assert Files(str(path)).fingerprint() != before


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "x.txt", "one")
    stat = path.stat()
    before = Files(str(path)).fingerprint()
    write(path, "two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Files(str(path)).fingerprint() != before


def test_lone_surrogates_in_json_do_not_reach_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", json.dumps({"text": "a\ud800é"}) + "\n")
    assert list(named(path).values()) == ["a?é"]
    assert Document("n", "\udfff").text == "?"
