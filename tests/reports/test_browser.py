"""The page in a real browser: no error, inert names, and what its scripts do, all seen in two visits."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.reports import synthetic

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine (Debian: apt install chromium)"),
]

OF_ARMS = {
    "main", "fairness", "efficiency", "ledger", "failures", "pairing", "configuration_differences", "trials"
}  # fmt: skip
WITHOUT_REFERENCE = {"fairness", "efficiency", "failures", "pairing"}

SCRIPT = """
addEventListener("load", async () => {
  const frame = document.querySelector("iframe"), inner = frame.contentWindow, page = inner.document;
  const one = (selector) => page.querySelector(selector), all = (selector) => [...page.querySelectorAll(selector)];
  const happened = (target, name) => new Promise((done) => target.addEventListener(name, done, { once: true }));
  const go = (act) => { const moved = happened(inner, "hashchange"); act(); return moved; };
  const arms = (parts) => new Set(parts.filter((part) => !part.hidden).map((part) => part.dataset.arm));
  const visible = (parts) => [...arms(parts)].join("");
  const view = () => ({
    address: inner.location.hash,
    order: visible(all("#main tbody tr")),
    tables: Object.fromEntries(all("table[id]").map((table) =>
      [table.id, visible([...table.querySelectorAll("[data-arm]")])]).filter(([, arms]) => arms)),
    panels: visible(all("#arms [data-arm]")),
    open: all("details.arm[open]").map((panel) => panel.id),
    sorted: all("#main thead th").map((heading) => heading.getAttribute("aria-sort")),
    said: one("#hidden-arms [role=status]").textContent,
  });
  const type = (words) => {
    one("#filter input[type=search]").value = words;
    one("#filter input[type=search]").dispatchEvent(new inner.Event("input", { bubbles: true }));
  };
  const click = (element) => element.dispatchEvent(new inner.MouseEvent("click", { bubbles: true, cancelable: true }));
  const heading = one(`#main thead th:nth-child(${LOSS + 1}) button`);
  const seen = {};

  seen.start = { ...view(), title: page.title, scripts: page.scripts.length, width: page.documentElement.scrollWidth,
                 control: one("#filter").offsetHeight > 0, line: one("#hidden-arms").offsetHeight };
  for (const name of ["ascending", "descending"]) { heading.click(); seen[name] = view(); }
  await go(() => { inner.location.hash = "#sort=main.TRAIN.ascending"; });
  seen.unsortable = view();

  type("  LONG everything "); seen.typed = { ...view(), line: one("#hidden-arms").offsetHeight };
  type("no such arm"); seen.nothing = view();
  type(""); seen.emptied = view();
  one("button[name=no-arms]").click();
  one("#filter input[value='3']").click();
  heading.click(); seen.chosen = view();

  one("#results").scrollIntoView();
  const place = inner.scrollY;
  await go(() => one("#main tr[data-arm='3'] td a").click());
  seen.panel = { ...view(), inWindow: one("#arm-3").getBoundingClientRect().top < inner.innerHeight,
                 below: inner.scrollY > place };
  await go(() => inner.history.back());
  seen.back = view();
  await go(() => inner.history.forward());
  seen.forward = view();
  await go(() => { inner.location.hash = "#results"; });
  seen.elsewhere = view();
  await go(() => { inner.location.hash = "#arms=1"; });
  seen.addressed = view();
  await go(() => { inner.location.hash = "#arm-2"; });
  seen.revealed = view();
  type("line"); one("#hidden-arms button").click();
  seen.reset = { ...view(), line: one("#hidden-arms").offsetHeight };

  frame.style.width = "1280px";
  const dialog = one("#enlarged"), figures = () => all(".figures figure").map((figure) => figure.id).join(" ");
  const figure = one("#figure-loss_curves"), drawing = figure.querySelector("svg");
  const button = figure.querySelector("button");
  seen.figures = { before: figures(), small: drawing.getBoundingClientRect().width };
  click(drawing);
  const ids = all("[id]").map((element) => element.id);
  Object.assign(seen.figures, {
    opened: dialog.open, moved: figure.parentElement === dialog, large: drawing.getBoundingClientRect().width,
    caption: figure.querySelector("figcaption").getBoundingClientRect().bottom < inner.innerHeight,
    twice: ids.length - new Set(ids).size,
  });
  const closed = happened(dialog, "close");
  dialog.close(); // as the Escape key does
  await closed;
  seen.figures.escaped = [dialog.open, figures(), page.activeElement === button];
  page.activeElement.blur(); button.click();
  const again = dialog.open;
  click(figure.querySelector("figcaption")); // to select its words
  seen.figures.button = [again, dialog.open];
  click(drawing);
  seen.figures.clicked = [dialog.open, figures(), page.activeElement === button];
  button.click(); inner.dispatchEvent(new inner.Event("beforeprint"));
  seen.figures.printed = [dialog.open, figures()];

  type("line");
  button.click();
  for (const rule of page.styleSheets[0].cssRules) {
    if (rule.media) rule.media.mediaText = rule.media.mediaText === "print" ? "all" : "not all";
  }
  const drawn = (selector) => all(selector).filter((element) => element.getClientRects().length).length;
  seen.print = ["#hidden-arms [role=status]", "#filter", "#enlarged", ".enlarge", "#hidden-arms button"].map(drawn);
  document.querySelector("pre").textContent = JSON.stringify(seen);
});
"""


@pytest.fixture(scope="module")
def page(hostile_report: Path) -> Path:
    return hostile_report / "index.html"


def visit(address: str, profile: Path, milliseconds: int = 3000) -> str:
    """Open an address; return the document as the browser has it after so long by its clock. It must log nothing."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--dump-dom",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               "--allow-file-access-from-files", f"--virtual-time-budget={milliseconds}", "--window-size=1280,900",
               "--enable-logging=stderr", f"--user-data-dir={profile}"]  # fmt: skip
    done = subprocess.run([BROWSER, *options, address], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    return done.stdout


def column(page: Path, heading: str) -> int:
    """Return the place of a column of the main table."""
    text = page.read_text(encoding="utf-8")
    head = text[text.index("<thead", text.index('<table id="main"')) :]
    cells = re.findall(r"<th[^>]*>(.*?)</th>", head[: head.index("</thead>")], re.DOTALL)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in cells].index(heading)


@pytest.fixture(scope="module")
def seen(page: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A page around it shows the report in a frame as wide as a telephone, uses it, and notes what it sees."""
    outer = page.parent.parent / "outer.html"
    script = SCRIPT.replace("LOSS", str(column(page, "validation loss")))
    script = script.replace("TRAIN", str(column(page, "train loss")))
    frame = '<iframe src="report/index.html" style="width: 390px; height: 900px; border: 0"></iframe>'
    outer.write_text(f"{frame}<pre></pre><script>{script}</script>")
    match = re.search(r"<pre>(.+?)</pre>", visit(outer.as_uri(), tmp_path_factory.mktemp("profile")), re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(html.unescape(match[1]))
    return found


def test_the_page_opens_whole_and_names_do_nothing(seen: dict[str, Any]) -> None:
    start = seen["start"]
    assert start["title"] == "<b>Which</b> {{ name }}?"
    assert start["scripts"] == 1
    assert start["width"] <= 390
    assert start["control"]
    assert (start["said"], start["line"]) == ("", 0)
    assert (start["order"], start["panels"], start["open"], start["address"]) == ("0123", "0123", [], "")
    assert set(start["tables"]) == OF_ARMS


def test_a_click_sorts(seen: dict[str, Any], page: Path) -> None:
    """The validation loss falls from the first arm to the last."""
    place = column(page, "validation loss")
    for direction, order in (("ascending", "3210"), ("descending", "0123")):
        assert seen[direction]["order"] == order
        assert seen[direction]["sorted"][place] == direction
        assert seen[direction]["address"] == f"#sort=main.{place}.{direction}"


def test_train_loss_is_not_sorted_by(seen: dict[str, Any]) -> None:
    assert seen["unsortable"]["order"] == "0123"
    assert not any(seen["unsortable"]["sorted"])
    assert seen["unsortable"]["address"] == ""


def test_typing_leaves_the_arms_with_these_words_and_the_reference_everywhere(seen: dict[str, Any]) -> None:
    typed = seen["typed"]
    assert typed["tables"] == {name: "1" if name in WITHOUT_REFERENCE else "01" for name in OF_ARMS - {"failures"}}
    assert (typed["panels"], typed["address"]) == ("01", "#arms=0,1")
    assert typed["said"].startswith("2 of 4 arms are hidden")
    assert typed["line"] > 0
    assert (seen["nothing"]["order"], seen["nothing"]["said"][:6]) == ("0", "3 of 4")
    assert (seen["emptied"]["order"], seen["emptied"]["said"]) == ("0123", "")


def test_ticks_and_sorting_share_the_address(seen: dict[str, Any], page: Path) -> None:
    chosen = seen["chosen"]
    assert chosen["order"] == "30"
    assert chosen["address"] == f"#sort=main.{column(page, 'validation loss')}.ascending&arms=0,3"


def test_a_number_leads_to_the_panel_of_its_arm_and_back_again(seen: dict[str, Any]) -> None:
    chosen, panel = seen["chosen"], seen["panel"]
    assert (panel["open"], panel["inWindow"], panel["below"]) == (["arm-3"], True, True)
    assert panel["address"] == chosen["address"].replace("#", "#arm-3&")
    assert (panel["order"], panel["panels"]) == ("30", "03")
    assert {**seen["back"], "open": []} == chosen
    assert seen["forward"]["address"] == panel["address"]
    assert seen["elsewhere"]["address"] == chosen["address"].replace("#", "#results&")
    assert seen["elsewhere"]["order"] == "30"


def test_an_address_says_what_is_shown_and_a_hidden_panel_that_is_asked_for_is_not_hidden(seen: dict[str, Any]) -> None:
    assert (seen["addressed"]["order"], seen["addressed"]["address"]) == ("01", "#arms=0,1")
    revealed = seen["revealed"]
    assert (revealed["order"], revealed["said"], revealed["address"]) == ("0123", "", "#arm-2")
    assert "arm-2" in revealed["open"]
    assert (seen["reset"]["order"], seen["reset"]["said"], seen["reset"]["line"]) == ("0123", "", 0)


def test_a_figure_opens_large_and_goes_back_where_it_was(seen: dict[str, Any]) -> None:
    figures = seen["figures"]
    assert (figures["opened"], figures["moved"], figures["caption"], figures["twice"]) == (True, True, True, 0)
    assert figures["large"] > 1.3 * figures["small"]
    assert figures["button"] == [True, True]
    for way in ("escaped", "clicked"):
        assert figures[way] == [False, figures["before"], True]
    assert figures["printed"] == [False, figures["before"]]


def test_the_line_of_hidden_arms_is_printed_and_no_control(seen: dict[str, Any]) -> None:
    assert seen["print"] == [1, 0, 0, 0, 0]


def test_a_page_opens_as_its_address_says(page: Path, tmp_path: Path) -> None:
    sort = f"sort=main.{column(page, 'validation loss')}.ascending,trials.2.descending"
    document = visit(f"{page.as_uri()}#arm-3&arms=3,0,99&{sort}", tmp_path)
    rows = re.findall(r'<tr data-arm="(\d)"( hidden="")?>', document[document.index('<table id="main"') :])[:4]
    assert rows == [("3", ""), ("2", ' hidden=""'), ("1", ' hidden=""'), ("0", "")]
    assert len(re.findall('<th[^>]* aria-sort="(?:ascending|descending)"', document)) == 2
    assert re.findall(r'<details class="arm" id="(.+?)"[^>]* open=""', document) == ["arm-3"]
    assert "2 of 4 arms are hidden" in document
    summaries = re.findall(r'<details class="arm".*?<summary>(.*?) <span', document, re.DOTALL)
    names = [" ".join(html.unescape(name).split()) for name in summaries]
    assert names == [" ".join(name.split()) for name in synthetic.HOSTILE_NAMES]
