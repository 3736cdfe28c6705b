"""The page in a real browser: no error, sorting, inert names, and nothing wider than the screen."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.reports import synthetic

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine (Debian: apt install chromium)"),
]


@pytest.fixture
def page(hostile_report: Path) -> Path:
    return hostile_report / "index.html"


def visit(address: str, profile: Path, milliseconds: int = 3000) -> tuple[str, str]:
    """Open an address; return the document as the browser has it after so long by its clock, and what it logged."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--dump-dom",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               "--allow-file-access-from-files", f"--virtual-time-budget={milliseconds}", "--window-size=1280,900",
               "--enable-logging=stderr", f"--user-data-dir={profile}"]  # fmt: skip
    done = subprocess.run([BROWSER, *options, address], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def rows(document: str, table: str) -> list[str]:
    body = document[document.index(f'<table id="{table}"') :]
    body = body[body.index("<tbody>") : body.index("</tbody>")]
    return re.findall(r'<th scope="row"[^>]*>(?:<strong>)?([^<]*)', body)


def column(page: Path, heading: str) -> int:
    """Return the place of a column of the main table."""
    text = page.read_text(encoding="utf-8")
    head = text[text.index("<thead", text.index('<table id="main"')) :]
    cells = re.findall(r"<th[^>]*>(.*?)</th>", head[: head.index("</thead>")], re.DOTALL)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in cells].index(heading)


def test_the_page_opens_without_an_error_and_names_do_nothing(page: Path, tmp_path: Path) -> None:
    document, log = visit(page.as_uri(), tmp_path)
    assert "CONSOLE" not in log
    assert "<title>&lt;b&gt;Which&lt;/b&gt; {{ name }}?</title>" in document
    names = [" ".join(name.split())[:8] for name in synthetic.HOSTILE_NAMES]
    shown = [name.replace("&lt;", "<").replace("&gt;", ">")[:8] for name in rows(document, "main")]
    assert shown == names


@pytest.mark.parametrize(("direction", "turned"), [("ascending", True), ("descending", False)])
def test_a_table_sorts_by_the_column_in_the_address(page: Path, tmp_path: Path, direction: str, turned: bool) -> None:
    """The validation loss falls from the first arm to the last."""
    document, log = visit(f"{page.as_uri()}#sort=main.{column(page, 'validation loss')}.{direction}", tmp_path)
    assert "CONSOLE" not in log
    names = [" ".join(name.split())[:5].replace("<", "&lt;") for name in synthetic.HOSTILE_NAMES]
    shown = [name[:8] for name in rows(document, "main")]
    expected = list(reversed(names)) if turned else names
    assert all(name.startswith(start) for name, start in zip(shown, expected, strict=True))
    assert re.search(f'<th[^>]* aria-sort="{direction}"', document)


def test_train_loss_is_not_sorted_by(page: Path, tmp_path: Path) -> None:
    document, _ = visit(f"{page.as_uri()}#sort=main.{column(page, 'train loss')}.ascending", tmp_path)
    assert not re.search("<th[^>]* aria-sort=", document)


def test_a_click_sorts_and_a_narrow_page_does_not_scroll_sideways(page: Path, tmp_path: Path) -> None:
    """A page around it shows the report in a frame as wide as a telephone, clicks, and notes what it sees."""
    place = column(page, "validation loss")
    outer = page.parent.parent / "outer.html"
    outer.write_text(
        """<iframe id="inner" src="report/index.html" style="width: 390px; height: 800px; border: 0"></iframe>
        <pre></pre>
        <script>
        addEventListener("load", () => {
          const inner = document.getElementById("inner").contentDocument;
          const heading = inner.querySelectorAll("#main thead th")[PLACE];
          const order = () => [...inner.querySelectorAll("#main tbody tr")].map((row) => row.cells[PLACE].dataset.key);
          const seen = [];
          for (let click = 0; click < 2; click++) {
            heading.querySelector("button").click();
            seen.push(heading.getAttribute("aria-sort"), order().join(" "));
          }
          seen.push(inner.documentElement.scrollWidth, inner.defaultView.location.hash);
          document.querySelector("pre").textContent = seen.join("|");
        });
        </script>""".replace("PLACE", str(place))
    )
    document, log = visit(outer.as_uri(), tmp_path)
    assert "CONSOLE" not in log
    match = re.search(r"<pre>(.+?)</pre>", document)
    assert match is not None
    first, up, second, down, width, address = match.group(1).split("|")
    assert (first, second) == ("ascending", "descending")
    assert [float(value) for value in up.split()] == sorted(float(value) for value in down.split())
    assert up.split() == down.split()[::-1]
    assert int(width) <= 390
    assert address == f"#sort=main.{place}.descending"
