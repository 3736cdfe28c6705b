"""How long text takes until it can be trained on, and how much memory that needs.

python -m benchmarks.data FOLDER WORKERS     # what one process does
"""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from benchmarks.measuring import Comparison, in_turn, limit, quartiles, share, speed
from benchmarks.options import Options
from benchmarks.systems import SYSTEMS
from deepsight.data.of_run import source_for
from deepsight.data.tokenizers import fixed_tokenizer
from deepsight.data.writing import write_packed
from deepsight.plug_ins import corpora
from deepsight.training.device import peak_memory

MEGABYTES = (20, 80)
TOKENIZER = "gpt2"
MEMORY_TARGET = 500.0
"""MiB, Python and torch included."""

FLAT = 1.1
"""How much more memory four times the text may need."""

LOADING_TARGET = 0.01
"""Of a training step."""

REPEATS = 5


def run(options: Options) -> Iterator[Comparison]:
    """Pack the Python library's own source files, and load batches."""
    with tempfile.TemporaryDirectory() as name:
        texts = {megabytes: _written(Path(name) / f"{megabytes}", megabytes) for megabytes in MEGABYTES}
        small, large = (f"{megabytes} MB of text" for megabytes in MEGABYTES)
        jobs = {
            name: functools.partial(_packed, texts[MEGABYTES[0]], workers)
            for name, workers in (("one core", 1), ("two cores", 2))
        }
        seconds = in_turn(jobs, min(options.repeats, REPEATS), warm=1)
        yield speed("data", "", f"tokenising and packing {small}", seconds, "two cores", "one core", 1.7)
        documents = [file.read_text(encoding="utf-8") for file in sorted(texts[MEGABYTES[0]].iterdir())]
        seconds = in_turn(
            {
                name: functools.partial(_tokenised, documents, threads)
                for name, threads in (("one thread", 1), ("two threads", 2))
            },
            min(options.repeats, REPEATS),
            warm=1,
        )
        yield speed("data", "", f"tiktoken alone, {small}", seconds, "two threads", "one thread")
        named = zip((small, large), texts.values(), strict=True)
        peaks = {said: [_peak(text) / 2**20 for _ in range(3)] for said, text in named}
        yield limit("data", "", f"peak memory, {large}", peaks[large], "MiB", MEMORY_TARGET)
        yield share("data", "", "peak memory, more text", peaks, large, small, "MiB", FLAT)
    yield from _loading(options)


def _written(folder: Path, megabytes: int) -> Path:
    """Write that much text: source files of Python's library, over again where they are fewer."""
    folder.mkdir(parents=True)
    library = sorted(Path(statistics.__file__).parent.rglob("*.py"))
    size = number = 0
    while size < megabytes * 10**6:
        text = library[number % len(library)].read_text(encoding="utf-8", errors="ignore")
        if text.strip():
            (folder / f"{number:06}.txt").write_text(f"{number}\n{text}", encoding="utf-8")
        size, number = size + len(text.encode()), number + 1
    return folder


def _tokenised(documents: Sequence[str], threads: int) -> None:
    """Tokenise documents and do nothing else: what threads can gain at most."""
    tokenizer = fixed_tokenizer(TOKENIZER)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda start: [*map(tokenizer.encode_array, documents[start::threads])], range(threads)))


def _packed(text: Path, workers: int) -> None:
    """Pack into a folder that is thrown away, so that nothing is found in the cache."""
    # From a thread of its own, which has no tokenizer yet, as those that it starts have none.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as fresh:
        spec = corpora.resolve({"name": "files", "path": str(text)})
        packing = fresh.submit(
            write_packed,
            Path(folder),
            corpora.build(spec),
            spec,
            "",
            TOKENIZER,
            0.05,
            workers=workers,
            on_progress=lambda documents, size: None,
        )
        packing.result()


def _peak(text: Path) -> int:
    command = [sys.executable, "-m", "benchmarks.data", str(text), "2"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _loading(options: Options) -> Iterator[Comparison]:
    for shape in options.shapes:
        system = SYSTEMS["DeepSight"](shape, options.device)
        config = system.config  # type: ignore[attr-defined]
        batches = source_for(config.data).batches(
            context=shape.context,
            batch_size=shape.batch,
            seed=0,
            later=system.objectives.lookahead,  # type: ignore[attr-defined]
        )
        steps = iter(range(10**9))
        seconds = in_turn(
            {"batch": lambda: batches(next(steps)).to(torch.device(options.device)), "step": system.step},  # noqa: B023
            options.repeats,
            options.device,
        )
        shares = [loading / step for loading, step in zip(seconds["batch"], seconds["step"], strict=True)]
        low, middle, high = quartiles(shares)
        yield Comparison(
            "data", shape.name, "loading a batch, share of a step", "loading", "training step",
            statistics.median(seconds["batch"]), statistics.median(seconds["step"]), "s",
            middle, low, high, LOADING_TARGET, "at most",
        )  # fmt: skip


def main() -> None:
    text, workers = sys.argv[1:]
    _packed(Path(text), int(workers))
    print(peak_memory(torch.device("cpu")))


if __name__ == "__main__":
    main()
