"""The same table as CSV, Markdown, LaTeX and HTML, whatever stands in its cells."""

from __future__ import annotations

import html.parser
import io
import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import table_formats, wording
from reports.table import Cell, Column, Table


def table(*texts: str, strong: bool = False) -> Table:
    rows = tuple((Cell(text, strong=strong), Cell("−0.5 ± 0.1", key=-0.5)) for text in texts)
    data = pd.DataFrame({"arm": list(texts), "value": [[1, 2]] * len(texts)})
    columns = (Column("arm"), Column("value", numeric=True))
    return Table("example_table", "A caption.", columns, rows, ("A note: 5 %.",), data)


def test_markdown() -> None:
    assert table_formats.to_markdown(table("a|b", "<i>*x*</i>")).splitlines() == [
        "**A caption.**",
        "",
        "| arm | value |",
        "| :--- | ---: |",
        r"| a\|b | −0.5 ± 0.1 |",
        r"| &lt;i&gt;\*x\*&lt;/i&gt; | −0.5 ± 0.1 |",
        "",
        "A note: 5 %.",
    ]


@given(st.text())
def test_any_text_stays_in_its_markdown_cell(text: str) -> None:
    line = table_formats.to_markdown(table(text)).split("\n")[4]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3


def test_csv_is_the_data_and_lists_are_json() -> None:
    frame = pd.read_csv(io.StringIO(table_formats.to_csv(table('a,"b"\nc'))))
    assert frame["arm"].tolist() == ['a,"b"\nc']
    assert json.loads(frame["value"][0]) == [1, 2]


class Text(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])))
def test_any_text_stays_text_in_html(text: str) -> None:
    parser = Text()
    parser.feed(str(table_formats.to_html(table(text, strong=True))))
    assert parser.tags <= {"table", "caption", "span", "thead", "tbody", "tr", "th", "td", "button", "strong"}
    assert text in "".join(parser.texts)


@given(st.text(alphabet="<>&;/!-\"'#=ab "))
def test_any_text_stays_text_in_an_html_file(text: str) -> None:
    parser = Text()
    parser.feed(table_formats.to_html_file(table(text, strong=True)))
    assert parser.tags <= {
        "html", "meta", "title", "style", "table", "caption", "thead", "tbody", "tr", "th", "td", "strong", "p"
    }  # fmt: skip
    assert text in "".join(parser.texts)


def test_an_html_file_can_be_pasted_anywhere_and_leads_to_trials_from_where_it_lies() -> None:
    one = table("a")
    linked = replace(one, rows=((Cell("a", link="../trials/1/"), Cell("b")),), totals=0)
    page = table_formats.to_html_file(linked)
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n')
    assert '<a href="../../trials/1/">a</a>' in page
    assert not re.search(r"\bid=|<script|<button|\bsrc=|https?:", page)
    selectors = re.findall(r"^([^{}\n]+) \{", page, re.M)
    assert len(selectors) > 5
    assert all(part.strip().startswith(".study-table") for selector in selectors for part in selector.split(","))


def test_html_carries_what_the_page_sorts_by() -> None:
    fragment = table_formats.to_html(table("a"))
    assert '<td class="number" data-key="-0.5">−0.5\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.1</td>' in fragment
    assert '<table id="example_table" class="sortable">' in fragment


def test_html_names_the_arms_of_rows_and_of_columns() -> None:
    places = {"a": 0, "b": 1}
    rows = table("b")
    fragment = table_formats.to_html(replace(rows, rows=(*rows.rows, *rows.rows), totals=1), places)
    assert re.findall("<tr[^>]*>", fragment) == ["<tr>", '<tr data-arm="1">', "<tr>"]
    columns = (Column("key"), *(Column(arm, arm=arm) for arm in places))
    beside = Table("beside", "", columns, ((Cell("k"), Cell("1"), Cell("2")),), (), pd.DataFrame())
    marks = re.findall(r"<t[hd] [^>]*?(?:data-arm=\"(\d)\")?>", table_formats.to_html(beside, places))
    assert marks == ["", "0", "1", "", "0", "1"]


@pytest.mark.parametrize(
    ("text", "tied"),
    [("at 5 %.", "at 5\xa0%."), ("p = 0.02", "p\xa0=\xa00.02"), ("p < 0.1", "p\xa0<\xa00.1"), ("5 seeds", "5 seeds")],
)
def test_units_stay_with_their_numbers(text: str, tied: str) -> None:
    assert wording.tied(text) == tied
