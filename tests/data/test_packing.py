import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from deepsight.data import tokenising
from deepsight.data.packed import token_type
from deepsight.data.packing import is_packed, open_packed, pack, pack_with_progress, packed_key
from deepsight.data.splits import SPLITS, division_at, rank
from deepsight.data.tokenizers import fixed_tokenizer, train_tokenizer
from deepsight.errors import UserError
from deepsight.plug_ins import corpora

FRACTION = 0.25

SLOW_CORPUS = '''
import os, sys, time
from pathlib import Path
from deepsight.data.corpora import Corpus, Document
from deepsight.data.packing import pack
from deepsight.plug_ins import corpora

folder = Path(sys.argv[1])

@corpora.register("slow")
class Slow(Corpus):
    """Tells when it is read, and may never end."""

    def documents(self):
        (folder / f"begun {os.getpid()}").touch()
        for number in range(200):
            yield Document(str(number), f"text {number}")
        time.sleep(600 if sys.argv[2] == "endless" else 0.5)

    def fingerprint(self):
        return "0" * 64

print(pack("slow", "bytes", 0.25).digest)
'''


@pytest.fixture
def spec(texts: Path) -> dict[str, str]:
    return {"name": "files", "path": str(texts)}


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_CORPUS)
    return script


def start(script: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(script), str(script.parent), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", ["bytes", "gpt2", "bpe:300"])
def test_the_tokens_are_those_of_each_document_encoded_alone(spec: dict[str, str], name: str) -> None:
    packed = pack(spec, name, FRACTION)
    documents = list(corpora.build(spec).documents())
    parts = {split: [one for one in documents if division_at(FRACTION).of(one.name) == split] for split in SPLITS}
    if name.startswith("bpe"):
        tokenizer = train_tokenizer(name, [one.text for one in parts["train"]])
    else:
        tokenizer = fixed_tokenizer(name)
    for split in SPLITS:
        expected = [id_ for one in parts[split] for id_ in [*tokenizer.encode(one.text), tokenizer.end_of_text]]
        tokens = getattr(packed, split)
        assert tokens.tolist() == expected
        sizes = getattr(packed.statistics, split)
        assert sizes.documents == len(parts[split]) == (tokens == packed.end_of_text).sum()
        assert sizes.tokens == len(expected)
        assert sizes.bytes == sum(len(one.text.encode()) for one in parts[split])
        assert packed.token_bytes[tokens].sum() == sizes.bytes
    assert packed.vocabulary == tokenizer.vocabulary
    total = sum(getattr(packed.statistics, split).tokens for split in SPLITS)
    assert f"files: 60 documents, 0.0 MB, {total:,} tokens ({name})" in packed.describe()
    assert packed.tokenizer().digest == tokenizer.digest == packed.record.tokenizer_digest


@pytest.mark.parametrize("name", ["gpt2", "bpe:300"])
def test_the_content_does_not_depend_on_workers(
    spec: dict[str, str], name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenising, "BATCH_CHARACTERS", 500)
    digests = set()
    for workers in (1, 2, 5):
        shutil.rmtree(cache)
        packed = pack(spec, name, FRACTION, workers=workers)
        digests.add((packed.digest, packed.train.tobytes(), packed.validation.tobytes()))
    assert len(digests) == 1


def test_the_split_is_by_name_alone_and_close_to_the_fraction() -> None:
    names = [f"document {number}" for number in range(20_000)]
    for fraction in (0.05, 0.5):
        held_out = {name for name in names if division_at(fraction).of(name) == "validation"}
        assert abs(len(held_out) / len(names) - fraction) < 0.01
    assert {name for name in names if division_at(0.05).of(name) == "validation"} < held_out
    # Written down, so that nobody changes the split of every packed corpus without noticing.
    assert [division_at(0.3).of(str(number)) for number in range(6)] == ["validation", *["train"] * 5]


def test_the_sample_to_train_on_is_bounded_and_the_rest_is_packed_too(
    spec: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenising, "SAMPLE_BYTES", 2000)
    packed = pack(spec, "bpe:300", FRACTION)
    documents = [one for one in corpora.build(spec).documents() if division_at(FRACTION).of(one.name) == "train"]
    sample, size = [], 0
    for one in documents:
        if size < 2000:
            sample.append(one.text)
            size += len(one.text.encode())
    assert packed.tokenizer().digest == train_tokenizer("bpe:300", sample).digest
    assert packed.statistics.train.documents == len(documents) > len(sample)


def test_ids_take_two_bytes_where_they_suffice_else_four(tmp_path: Path) -> None:
    assert [token_type(size).itemsize for size in (257, 65536, 65537)] == [2, 2, 4]
    letters = random.Random(0)
    words = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(60_000)]
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text(" ".join(words[number::20]))
    packed = pack({"name": "files", "path": str(tmp_path)}, "bpe:66000", FRACTION)
    assert packed.train.dtype == np.dtype("<u4")
    assert packed.train.max() == packed.end_of_text == 65999
    assert (packed.folder / "train.tokens").stat().st_size == 4 * packed.statistics.train.tokens


def test_tokens_are_read_only_and_packed_once(spec: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_packed(spec, "bytes", FRACTION)
    packed = pack(spec, "bytes", FRACTION)
    assert is_packed(spec, "bytes", FRACTION)
    assert packed.train.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        packed.train[0] = 1
    assert packed.folder.name == packed_key(spec, "bytes", FRACTION)
    monkeypatch.setattr("deepsight.data.packing.write_packed", lambda *_, **__: pytest.fail("packed again"))
    again = pack(spec, "bytes", FRACTION)
    assert (again.digest, again.statistics) == (packed.digest, packed.statistics)
    assert open_packed(packed.folder).record == packed.record


def test_the_key_follows_everything_that_decides_the_content(spec: dict[str, str], texts: Path) -> None:
    keys = [
        packed_key(spec, "bytes", 0.1),
        packed_key(spec, "gpt2", 0.1),
        packed_key(spec, "bytes", 0.2),
        packed_key({**spec, "documents": "line"}, "bytes", 0.1),
    ]
    (texts / "00.txt").write_text("changed")
    assert len({*keys, packed_key(spec, "bytes", 0.1)}) == len(keys) + 1


def test_the_digest_is_of_the_content_and_not_of_its_place(spec: dict[str, str], texts: Path, tmp_path: Path) -> None:
    before = pack(spec, "bytes", FRACTION)
    shutil.copytree(texts, tmp_path / "copy")
    copied = pack({"name": "files", "path": str(tmp_path / "copy")}, "bytes", FRACTION)
    assert copied.folder != before.folder
    assert copied.digest == before.digest
    changed = texts / "00.txt"
    changed.write_text(changed.read_text().replace("e", "a"))
    after = pack(spec, "bytes", FRACTION)
    assert after.statistics == before.statistics
    assert after.digest != before.digest


def test_progress_is_told_and_ends_with_the_whole(spec: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenising, "BATCH_CHARACTERS", 500)
    told: list[tuple[int, int]] = []
    sizes = pack(spec, "bytes", FRACTION, on_progress=lambda *done: told.append(done)).statistics
    assert len(told) > 5
    assert told == sorted(told)
    assert told[-1] == (60, sizes.train.bytes + sizes.validation.bytes)


def test_the_bar_is_shown_on_a_terminal_only(spec: dict[str, str]) -> None:
    silent = StringIO()
    pack_with_progress(spec, "bytes", FRACTION, console=Console(file=silent))
    assert silent.getvalue() == ""
    shown = StringIO()
    terminal = Console(file=shown, force_terminal=True, width=120)
    packed = pack_with_progress(spec, "gpt2", FRACTION, console=terminal)
    assert "packing files for gpt2" in shown.getvalue()
    before = shown.getvalue()
    assert pack_with_progress(spec, "gpt2", FRACTION, console=terminal).digest == packed.digest
    assert shown.getvalue() == before


@pytest.mark.parametrize(("name", "fraction"), [("bytes", 1e-9), ("bpe:300", 1e-9), ("bytes", 1 - 1e-9)])
def test_a_split_that_would_be_empty_gets_the_document_nearest_to_it(
    spec: dict[str, str], fraction: float, name: str
) -> None:
    packed = pack(spec, name, fraction)
    by_rank = sorted(corpora.build(spec).documents(), key=lambda document: rank(document.name))
    alone, split = (by_rank[0], "validation") if fraction < 0.5 else (by_rank[-1], "train")
    assert packed.tokenizer().decode(getattr(packed, split)[:-1]) == alone.text
    assert packed.statistics.train.documents + packed.statistics.validation.documents == 60
    if name != "bytes":
        others = [one.text for one in corpora.build(spec).documents() if one != alone]
        assert packed.tokenizer().digest == train_tokenizer(name, others).digest


def test_a_single_document_is_refused_in_one_sentence_with_advice(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("Only one document.")
    with pytest.raises(UserError) as caught:
        pack({"name": "files", "path": str(path)}, "bytes", 0.05)
    assert str(caught.value) == (
        "the corpus 'files' has a single document, which leaves nothing for the validation split: a document is never "
        "cut between training and validation; give more documents, for example with documents: passage or "
        "documents: line"
    )
    path.write_text(" \n")
    with pytest.raises(UserError, match="has no text"):
        pack({"name": "files", "path": str(path)}, "bytes", 0.5)
    assert [path.name for path in (cache / "packed").iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_an_impossible_fraction_is_refused(spec: dict[str, str], fraction: float) -> None:
    with pytest.raises(UserError, match="validation_fraction must be greater than 0 and less than 1"):
        pack(spec, "bytes", fraction)


def test_wrong_names_are_refused_before_any_work(spec: dict[str, str]) -> None:
    with pytest.raises(UserError, match="did you mean 'gpt2'"):
        pack(spec, "gtp2", FRACTION)
    with pytest.raises(UserError, match="unknown corpus 'flies'; did you mean 'files'"):
        pack({"name": "flies"}, "bytes", FRACTION)


def test_a_small_text_for_a_large_vocabulary_is_refused(spec: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"too short for the tokenizer 'bpe:50000'; the most that it gives is bpe:\d+"):
        pack(spec, "bpe:50000", FRACTION)


def test_damage_is_seen_and_said(spec: dict[str, str], tmp_path: Path) -> None:
    folder = pack(spec, "bytes", FRACTION).folder
    with (folder / "train.tokens").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"train\.tokens: the packed tokens are damaged; delete"):
        _ = open_packed(folder).train
    (folder / "packed.json").write_text('{"corpus": {}')
    with pytest.raises(UserError, match="to have it packed again"):
        open_packed(folder)
    with pytest.raises(UserError, match="no packed corpus here"):
        open_packed(tmp_path)


def test_a_folder_without_record_is_packed_again(spec: dict[str, str]) -> None:
    packed = pack(spec, "bytes", FRACTION)
    (packed.folder / "packed.json").unlink()
    assert pack(spec, "bytes", FRACTION).digest == packed.digest


def test_a_cache_that_cannot_be_written_is_one_sentence(
    spec: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPSIGHT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"the cache folder .*file cannot be written .*name another in DEEPSIGHT_CACHE"):
        pack(spec, "bytes", FRACTION)


def test_an_error_in_the_corpus_leaves_nothing(texts: Path, cache: Path) -> None:
    (texts / "99.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"99\.jsonl:1: this line is not JSON"):
        pack({"name": "files", "path": str(texts)}, "bytes", FRACTION, workers=2)
    assert [path.name for path in (cache / "packed").iterdir() if not path.name.endswith(".lock")] == []


def test_processes_that_pack_the_same_at_once_all_succeed_and_one_works(slow: Path) -> None:
    processes = [start(slow, "quick") for _ in range(3)]
    digests = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(digests) == 1
    assert len(list(slow.parent.glob("begun *"))) == 1


def test_a_killed_packer_leaves_nothing_that_counts_and_its_rest_is_removed(
    slow: Path, spec: dict[str, str], cache: Path
) -> None:
    process = start(slow, "endless")
    deadline = time.monotonic() + 30
    while not list((cache / "packed").glob(".*.tmp/train.tokens")) and time.monotonic() < deadline:
        time.sleep(0.02)
    (leftover,) = (cache / "packed").glob(".*.tmp")
    pack(spec, "bytes", FRACTION)
    assert leftover.exists(), "the folder of a living process was removed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not [path for path in (cache / "packed").iterdir() if path.name == leftover.name[1:65]]
    pack(spec, "gpt2", FRACTION)
    assert not leftover.exists()
    finished = start(slow, "quick")
    assert len(finished.communicate(timeout=60)[0].strip()) == 64


def test_threads_may_encode_with_one_tokenizer_at_once(spec: dict[str, str]) -> None:
    tokenizer = pack(spec, "bpe:300", FRACTION).tokenizer()
    documents = [one.text for one in corpora.build(spec).documents()]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tokenizer.encode, documents * 5)) == tokenizer.encode_batch(documents * 5)


@pytest.mark.parametrize("ending", ["txt", "jsonl"])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many batches are under way depends on the threads, so the limit is what all of them hold at most."""
    batch, workers = 50_000, 2
    monkeypatch.setattr(tokenising, "BATCH_CHARACTERS", batch)
    under_way, bytes_a_character = 2 * workers + 2, 1 + 4 + 2  # the text, and its tokens in two types

    def peak_and_size(lines: int) -> tuple[int, int]:
        path = tmp_path / f"{lines}.{ending}"
        line = "Some words and a blank line.\\n" * 10
        path.write_text(f'{{"text": "{line}"}}\n' * lines if ending == "jsonl" else "Some words.\n\n" * 20 * lines)
        tracemalloc.start()
        pack({"name": "files", "path": str(path)}, "bytes", FRACTION, workers=workers)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, path.stat().st_size

    peak_and_size(100)  # what is imported at the first use
    peak, size = peak_and_size(40_000)
    most = 1.5 * under_way * batch * bytes_a_character
    assert peak < most < size / 3
