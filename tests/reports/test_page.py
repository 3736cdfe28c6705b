"""The page: complete, self-contained, and inert whatever a study is called."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re
from pathlib import Path

import pytest

from reports import images
from tests.reports import synthetic


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
        "warnings", "finding", "results", "fair", "figures", "failed", "account", "differences", "every-trial", "repeat"
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
            r"#[a-z-]+|tables/\w+\.(csv|md|tex)|figures/\w+\.(png|svg)|\.\./trials/[0-9a-f]{64}/(config\.yaml)?", link
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
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 6
    for drawing in drawings:
        assert "var(--ink)" in drawing
        assert "#ffffff" not in drawing
        assert "<style" not in drawing
        assert "<!--" not in drawing


def test_a_large_drawing_becomes_a_picture() -> None:
    svg = "<svg " + "x" * images.MOST_INLINE_BYTES
    assert images.for_page("name", svg, b"png", 'a "name"') == (
        '<img src="data:image/png;base64,cG5n" alt="a &#34;name&#34;">'
    )


def test_the_template_is_shipped() -> None:
    import reports

    templates = Path(reports.__file__).parent / "templates"
    assert {file.name for file in templates.iterdir()} == {
        "beside.html", "page.css", "page.html", "page.js", "refresh.js", "table.html"
    }  # fmt: skip
