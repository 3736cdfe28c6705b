"""The served report: kept up to date, the files on disk as ever, and nothing for anybody else."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepsight.training.lock import locked
from reports.build import build
from reports.figures import paired_differences
from reports.figures.catalogue import NamedFigure
from reports.page import script_source
from reports.serving.changes import state_of
from reports.serving.live import LiveReport
from reports.serving.refreshing import ServedPage, refreshing
from reports.serving.server import HTML, Handler, ReportServer, serving
from tests.reports.test_browser import BROWSER, visit
from tests.reports.test_report import contents, study_on_disk

PAUSE = 0.01


def ask(server: ReportServer, path: str, method: str = "GET", host: str | None = "127.0.0.1") -> tuple[Any, str]:
    """Send a request with its path as it is; return the answer and its text."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer, text


def wait_until(happened: Callable[[], Any], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study whose trials also hold what is not for browsers."""
    folder = study_on_disk(tmp_path_factory.mktemp("outside") / "study")
    (folder.parent / "secret.txt").write_text("a secret")
    trial = min((folder / "trials").iterdir())
    (trial / "checkpoint.safetensors").write_bytes(b"a secret")
    (trial / ".hidden.txt").write_text("a secret")
    (trial / "<b>.log").write_text("<script>")
    (folder / "trials" / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "trials" / "out").symlink_to(folder.parent)
    (folder / "trials" / "plan.txt").symlink_to(folder / "plan.json")
    return folder


def one_figure(*frames: Any) -> Iterator[NamedFigure]:
    """Stand for all figures, which take seconds."""
    figure = paired_differences(*frames[:3])
    if figure is not None:
        yield NamedFigure("differences", "Differences", "A caption.", figure)


@pytest.fixture(scope="module")
def built(study: Path) -> Iterator[dict[str, bytes]]:
    """The report's files as `build` writes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.writing.all_figures", one_figure)
        build(study)
        yield contents(study / "report")


@pytest.fixture(scope="module")
def begun(study: Path, built: dict[str, bytes]) -> Iterator[tuple[ReportServer, str]]:
    """A server that first saw the study without a trial, and what its page was then; now all trials have finished."""
    trials, aside = study / "trials", study.parent / "aside"
    trials.rename(aside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.serving.live.REST", 0.0)
        with serving(LiveReport(study, note=pytest.fail, pause=PAUSE), 0) as server:
            first, page = ask(server, "/version")[1], ask(server, "/report/")[1]
            aside.rename(trials)
            wait_until(lambda: ask(server, "/version")[1] != first)
            yield server, page


@pytest.fixture(scope="module")
def server(begun: tuple[ReportServer, str]) -> ReportServer:
    return begun[0]


def test_a_new_result_is_a_new_page(begun: tuple[ReportServer, str]) -> None:
    server, first = begun
    page = ask(server, "/report/")[1]
    assert "no trial has finished" in first
    assert "no trial has finished" not in page
    assert "exploratory" in page


def test_the_page_is_the_file_with_a_script_and_a_policy_for_it(
    server: ReportServer, study: Path, built: dict[str, bytes]
) -> None:
    answer, page = ask(server, "/report/")
    assert answer.status == 200
    assert contents(study / "report") == built
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; connect-src 'self';"
    assert policy in page
    plain = re.sub(r'<script data-version="\w+">.*?</script>\n', "", page, flags=re.DOTALL)
    plain = plain.replace(f" 'sha256-{hashes[1]}'; connect-src 'self'", "")
    assert plain.encode() == built["index.html"]
    version = hashlib.sha256(built["index.html"]).hexdigest()
    assert f'<script data-version="{version}">' in page
    assert ask(server, "/version")[1] == version
    assert ask(server, "/report/index.html")[1] == page


def test_the_first_address_leads_to_the_page_and_all_its_links_answer(server: ReportServer) -> None:
    answer, _ = ask(server, "/")
    assert (answer.status, answer.getheader("Location")) == (302, "/report/")
    _, page = ask(server, "/report/")
    links = set(re.findall(r'href="((?:tables|figures|\.\./trials)/[^"]+)"', page))
    assert len(links) > 30
    for link in links:
        path = f"/report/{link}".replace("/report/../", "/")
        answer, text = ask(server, path, "HEAD")
        assert answer.status == 200, link
        assert int(answer.getheader("Content-Length")) > 0
        assert text == ""


def test_tables_are_pages_and_pages_of_others_are_nothing(server: ReportServer, study: Path) -> None:
    trial = min((study / "trials").iterdir()).name
    (study / "trials" / trial / "tables").mkdir()
    (study / "trials" / trial / "tables" / "main.html").write_text("<b>of others</b>")
    (study / "report" / "other.html").write_text("<b>of others</b>")
    answer, text = ask(server, "/report/tables/main.html")
    assert (answer.status, answer.getheader("Content-Type")) == (200, HTML)
    assert "default-src 'none'" in answer.getheader("Content-Security-Policy")
    assert text.startswith("<!DOCTYPE html>")
    for path in (f"/trials/{trial}/tables/main.html", "/report/other.html"):
        assert ask(server, path)[0].status == 404


def test_a_trials_folder_lists_its_files_and_text_is_text(server: ReportServer, study: Path) -> None:
    trial = min((study / "trials").iterdir()).name
    answer, _ = ask(server, f"/trials/{trial}")
    assert (answer.status, answer.getheader("Location")) == (302, f"/trials/{trial}/")
    answer, text = ask(server, f"/trials/{trial}/")
    assert answer.getheader("Content-Type") == HTML
    assert '<a href="./config.yaml">config.yaml</a>' in text
    assert '<a href="./%3Cb%3E.log">&lt;b&gt;.log</a>' in text
    assert "<li>checkpoint.safetensors</li>" in text
    assert "hidden" not in text
    for name in ("config.yaml", "metrics.jsonl", "result.json", "%3Cb%3E.log"):
        answer, text = ask(server, f"/trials/{trial}/{name}?query")
        assert answer.status == 200
        assert text.encode() == (study / "trials" / trial / name.replace("%3Cb%3E", "<b>")).read_bytes()
        assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Cache-Control") == "no-store"
        assert "default-src 'none'" in answer.getheader("Content-Security-Policy")


@pytest.mark.parametrize(
    "path",
    [
        "/plan.json",
        "/report/../plan.json",
        "/report/%2e%2e/plan.json",
        "/report/..%2fplan.json",
        "/report/%252e%252e/plan.json",
        "/report/..\\plan.json",
        "/trials/../../secret.txt",
        "/trials/../../../../../../../../etc/passwd",
        "//etc/passwd",
        "/trials//etc/passwd",
        "/trials/%2Fetc%2Fpasswd",
        "/trials/%00",
        "/trials/TRIAL/%ff%fe",
        "/trials/link.txt",
        "/trials/plan.txt",
        "/trials/out/",
        "/trials/out/secret.txt",
        "/trials/TRIAL/checkpoint.safetensors",
        "/trials/TRIAL/.hidden.txt",
        "/trials/TRIAL/gone.yaml",
        "/trials/TRIAL/config.yaml/",
        "http://127.0.0.1/trials/link.txt",
        "http://[",
        "/favicon.ico",
    ],
)
def test_nothing_else_can_be_had(server: ReportServer, study: Path, path: str) -> None:
    answer, text = ask(server, path.replace("TRIAL", min((study / "trials").iterdir()).name))
    assert (answer.status, text) == (404, "There is nothing here.\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LOCALHOST:9000", 200),  # the near end of a tunnel
        ("example.org", 403),
        ("127.0.0.1.example.org", 403),
        ("localhost.example.org:8765", 403),
        ("example.org:127.0.0.1", 403),
        ("0.0.0.0", 403),
        ("", 403),
        (None, 403),
    ],
)
def test_only_a_browser_that_asks_for_this_machine_is_answered(
    server: ReportServer, host: str | None, status: int
) -> None:
    for path in ("/report/", "/version", "/trials/"):
        answer, text = ask(server, path, host=host)
        assert answer.status == status
        assert ("This server answers" in text) == (status == 403)


def test_it_only_shows(server: ReportServer, study: Path) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer, _ = ask(server, "/report/", method)
        assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
    assert ask(server, "/report/", "BREW")[0].status == 501
    answer, text = ask(server, "/report/", "HEAD")
    assert text == ""
    assert int(answer.getheader("Content-Length")) == len(ask(server, "/report/")[1].encode())


def test_it_listens_on_the_loopback_interface_alone(server: ReportServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.server_address[1]), timeout=5)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace the drawing of pages by a short text with their number; `gate` holds it up."""
    record = SimpleNamespace(count=0, gate=threading.Event())
    record.gate.set()

    def write(study: Any, trials: Any, curves: Any, records: Any, out: Path) -> Path:
        assert record.gate.wait(20)
        record.count += 1
        out.mkdir(exist_ok=True)
        (out / "index.html").write_text(page_text(f"page {record.count}"))
        return out / "index.html"

    monkeypatch.setattr("reports.serving.live.write_report", write)
    return record


def page_text(content: str) -> str:
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {script_source('')}; base-uri 'none'"
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}"><body>{content}</body>'


def look(live: LiveReport, times: int = 3) -> None:
    """Have a report look at its files so many times."""
    for _ in range(times):
        live.page()
        wait_until(lambda: not live._asked.is_set())


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def live(tmp_path: Path, drawn: SimpleNamespace, notes: list[str]) -> Iterator[LiveReport]:
    live = LiveReport(study_on_disk(tmp_path), notes.append, PAUSE)
    live.start()
    yield live
    drawn.gate.set()
    live.stop()


def test_a_page_is_drawn_again_only_where_it_would_be_another(live: LiveReport, drawn: SimpleNamespace) -> None:
    look(live)
    assert drawn.count == 1
    trial = min((live.folder / "trials").iterdir())
    with (trial / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({"kind": "step", "step": 7, "train_loss": 4.0}) + "\n")
    look(live)
    assert drawn.count == 1
    (trial / "result.json").unlink()
    look(live)
    assert drawn.count == 2
    assert b"page 2" in live.page().content


def test_a_building_blocks_no_answer(live: LiveReport, drawn: SimpleNamespace) -> None:
    look(live)
    drawn.gate.clear()
    min((live.folder / "trials").glob("*/result.json")).unlink()
    look(live, 1)
    assert b"page 1" in live.page().content
    drawn.gate.set()
    wait_until(lambda: b"page 2" in live.page().content)


def test_a_half_written_file_ends_nothing_and_is_told_once(live: LiveReport, notes: list[str]) -> None:
    look(live)
    plan = live.folder / "plan.json"
    whole = plan.read_text()
    for broken in (whole[: len(whole) // 2], "[]", ""):
        plan.write_text(broken)
        look(live)
        assert b"page 1" in live.page().content
    assert len(notes) == 1
    assert notes[0].startswith("The report could not be built, and stays as it was: ")
    assert "\n" not in notes[0]
    plan.write_text(whole)
    look(live)
    plan.unlink()
    look(live)
    assert len(notes) == 2
    assert "there is no study here (no plan.json)" in notes[1]


def test_without_a_first_page_the_reason_is_shown_until_there_is_one(
    tmp_path: Path, drawn: SimpleNamespace, notes: list[str]
) -> None:
    plan = study_on_disk(tmp_path) / "plan.json"
    whole = plan.read_text()
    plan.write_text("<b>")
    with serving(LiveReport(tmp_path, notes.append, PAUSE), 0) as server:
        answer, page = ask(server, "/report/")
        assert answer.status == 503
        assert "The report cannot be built yet" in page
        assert "<b>" not in page
        assert "connect-src 'self'" in page
        assert f'data-version="{ask(server, "/version")[1]}"' in page
        plan.write_text(whole)
        wait_until(lambda: ask(server, "/report/")[0].status == 200)
    assert len(notes) == 1


def test_a_lock_that_is_freed_is_a_change(tmp_path: Path) -> None:
    trial = tmp_path / "trials" / "one"
    with locked(trial):
        running = state_of(tmp_path)
        (trial / "heartbeat").touch()
        (trial / "log.txt").write_text("a line")
        assert state_of(tmp_path) == running
    assert state_of(tmp_path) != running


def test_the_command_serves_until_it_is_interrupted(command_line: Any, tmp_path: Path, drawn: SimpleNamespace) -> None:
    study_on_disk(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pages = []

    def read_and_interrupt() -> None:
        limit = time.monotonic() + 20
        while not pages and time.monotonic() < limit:
            try:
                pages.append(urllib.request.urlopen(f"http://localhost:{port}/", timeout=20).read())
            except OSError:
                time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    reader = threading.Thread(target=read_and_interrupt)
    reader.start()
    answer = command_line("report", "--serve", tmp_path, "--port", port)
    reader.join()
    assert b"page 1" in pages[0]
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == f"The report is at http://127.0.0.1:{port}/report/ until Ctrl-C.\nStopped.\n"


def test_a_port_that_is_taken_is_one_sentence(command_line: Any, tmp_path: Path) -> None:
    study_on_disk(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = command_line("report", "--serve", tmp_path, "--port", port)
    assert answer.returncode == 2
    assert answer.stderr == f"Error: --port {port}: this port is taken; choose another, or 0 for any free one\n"
    assert not (tmp_path / "report").exists()


OUTER = """<iframe id="inner" src="/report/" style="width: 800px; height: 600px"></iframe><pre></pre>
<script>
const frame = document.getElementById("inner");
const seen = [];
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  const text = page.querySelector("h1").textContent;
  if (text === "page 1") {
    frame.contentWindow.scrollTo(0, 1234);
    const dialog = page.body.appendChild(page.createElement("dialog"));
    dialog.showModal();
    // Long enough for some looks, each of which finds another version.
    setTimeout(() => { seen.push(page.querySelector("h1").textContent); dialog.close(); }, 7000);
  } else {
    setTimeout(() => { document.querySelector("pre").textContent = [...seen, text, frame.contentWindow.scrollY]; }, 50);
  }
});
</script>"""


@pytest.mark.browser
@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine (Debian: apt install chromium)")
def test_the_page_loads_again_at_the_same_place_but_not_under_an_open_dialog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page around it scrolls, opens a dialog, closes it after a while, and notes what it sees."""
    pages = [refreshing(page_text(f'<h1>page {number}</h1><p style="height: 5000px">').encode()) for number in (1, 2)]
    asked: list[ServedPage] = []

    def page() -> ServedPage:
        asked.append(pages[min(len(asked), 1)])
        return asked[-1]

    class WithOuter(Handler):
        def do_GET(self) -> None:  # noqa: N802 - named by the standard library
            self._answer(200, OUTER, HTML, policy="") if self.path == "/outer" else super().do_GET()

    monkeypatch.setattr("reports.serving.server.Handler", WithOuter)
    live = SimpleNamespace(folder=tmp_path, page=page, start=lambda: None, stop=lambda: None)
    with serving(live, 0) as server:  # type: ignore[arg-type]
        document = visit(server.address.replace("/report/", "/outer"), tmp_path / "profile", 20_000)
    assert "<pre>page 1,page 2,1234</pre>" in document
    assert len(asked) > 4
