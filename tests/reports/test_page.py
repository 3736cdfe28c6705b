"""The page: complete, self-contained, and inert whatever a study is called."""

from __future__ import annotations

import base64
import hashlib
import html
import html.parser
import re
from pathlib import Path

import pandas as pd
import pytest

from reports import images
from reports.page import SCRIPTS
from reports.records import Records
from reports.writing import write_report
from tests.reports import synthetic
from tests.reports.conftest import LargeReport


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, and every text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]


@pytest.fixture(scope="module")
def page(half_finished_report: Path) -> str:
    return (half_finished_report / "index.html").read_text()


@pytest.fixture(scope="module")
def hostile(hostile_report: Path) -> str:
    return (hostile_report / "index.html").read_text()


def test_the_sections_come_in_order(page: str) -> None:
    found = re.findall(r'<section id="([a-z-]+)"', page)
    assert found == [
        "warnings", "finding", "results", "fair", "figures", "failed", "account", "differences", "every-trial", "arms",
        "repeat",
    ]  # fmt: skip


def test_the_page_needs_nothing_else(page: str) -> None:
    elements = Elements(page)
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)
    tags = {tag for tag, _ in elements.elements}
    assert not tags & {"link", "iframe", "object", "embed", "base", "form"}
    assert all(source.startswith("data:image/png;base64,") for source in elements.all("src"))
    assert "@import" not in page
    assert [tag for tag, _ in elements.elements].count("script") == 1


def test_its_links_stay_beside_it(page: str) -> None:
    for link in Elements(page).all("href"):
        assert re.fullmatch(
            r"#[a-z-]+|#arm-\d|tables/\w+\.(csv|md|tex|html)|figures/\w+\.(png|svg)|"
            r"\.\./trials/[0-9a-f]{64}/(config\.yaml|metrics\.jsonl)?",
            link,
        )


def test_ids_are_unique_and_anchors_exist(page: str) -> None:
    elements = Elements(page)
    ids = elements.all("id")
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'(?:xlink:href|href)="#([^"]+)"|url\(#([^)]+)\)', page):
        assert "".join(reference) in ids


def test_how_to_repeat_it_is_said(page: str) -> None:
    text = "".join(Elements(page).texts)
    assert "deepsight ablate demo --out runs/demo" in text
    assert "tokenizer: bpe:2048" in text
    assert "a processor" in text


def test_captions_say_how_the_interval_is_made(page: str) -> None:
    text = "".join(Elements(page).texts)
    assert "the line its 95\N{NO-BREAK SPACE}% t interval for one comparison" in text
    assert "the band is the 95\N{NO-BREAK SPACE}% t interval of that mean over seeds" in text


def test_only_the_named_script_may_run(page: str) -> None:
    script = page[page.index("<script>") + len("<script>") : page.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in page or f"script-src 'sha256-{digest}'" in page


def test_names_stay_text(hostile: str) -> None:
    elements = Elements(hostile)
    tags = [tag for tag, _ in elements.elements]
    assert tags.count("script") == 1
    assert not {"b", "i", "img"} & set(tags)
    assert not [name for _, attributes in elements.elements for name in attributes if name.startswith("on")]
    text = "".join(elements.texts)
    for name in synthetic.HOSTILE_NAMES:
        assert " ".join(name.split()) in " ".join(text.split())
    assert "<b>Which</b> {{ name }}?" in text
    assert "<img src=x onerror=alert(2)> & more" in text


def test_figures_take_the_colours_of_the_page(page: str) -> None:
    drawings = re.findall(r"<h3>[^<]*</h3>\s*(<svg.*?</svg>)", page, flags=re.DOTALL)
    assert len(drawings) == 6
    for drawing in drawings:
        assert "var(--ink)" in drawing
        assert "#ffffff" not in drawing
        assert "<style" not in drawing
        assert "<!--" not in drawing


def test_what_only_scripts_can_do_is_hidden_until_they_run(page: str) -> None:
    assert '<div id="filter" hidden>' in page
    assert page.count('<span class="enlarge" hidden>') == 6
    assert '<button type="button" name="all-arms" hidden>Show all arms</button></div>' in page


def test_two_arms_need_no_filter(tmp_path: Path) -> None:
    study = synthetic.study_of({"reference": {}, "arm": {"objective.n": 3}}, "reference", 1)
    page = write_report(study, pd.DataFrame(), pd.DataFrame(), Records(), tmp_path).read_text()
    assert 'id="filter"' not in page
    assert 'id="arm-1"' in page


@pytest.mark.parametrize(
    "table", ["main", "fairness", "efficiency", "ledger", "pairing", "failures", "trials", "configuration_differences"]
)
def test_names_and_numbers_of_an_arm_lead_to_its_panel(page: str, table: str) -> None:
    study, _, _ = synthetic.half_finished()
    places = {arm.name: str(place) for place, arm in enumerate(study.arms)}
    head, _, body = page.partition(f'<table id="{table}"')[2].partition("</tbody>")[0].partition("<tbody>")
    arm_column = [re.sub("<[^>]*>", "", title) for title in re.findall("<th .*?</th>", head, re.DOTALL)].index("arm")
    rows = re.findall('<tr data-arm="(.)">(.*?)</tr>', body, re.DOTALL)
    assert len(rows) == body.count("<tr")
    for place, row in rows:
        cells = re.findall("<t[hd] [^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        numbers = re.findall('<td class="number"[^>]*>(.*?)</td>', row, re.DOTALL)
        name = re.fullmatch('<a href="#arm-(.)">(.*)</a>', cells[arm_column])
        assert name is not None
        assert (name[1], places[html.unescape(name[2])]) == (place, place)
        for number in numbers:
            assert number == "–" or re.fullmatch(f'<a href="#arm-{place}" tabindex="-1">.+</a>', number, re.DOTALL)


def test_a_page_of_200_trials_is_below_5_megabytes(large_report: LargeReport) -> None:
    assert large_report.size < 5_000_000


def test_a_report_of_200_trials_takes_less_than_20_seconds_of_one_core(large_report: LargeReport) -> None:
    assert large_report.seconds < 20


def test_a_large_drawing_becomes_a_picture() -> None:
    svg = "<svg " + "x" * images.MOST_INLINE_BYTES
    assert images.for_page("name", svg, b"png", 'a "name"') == (
        '<img src="data:image/png;base64,cG5n" alt="a &#34;name&#34;">'
    )


def test_the_template_is_shipped() -> None:
    import reports

    templates = Path(reports.__file__).parent / "templates"
    assert {file.name for file in templates.iterdir()} == {
        "beside.html", "page.css", "page.html", "refresh.js", "table.html", "table_file.html", "arms.html", *SCRIPTS
    }  # fmt: skip
