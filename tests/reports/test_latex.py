"""Tables as LaTeX: what is written, that it fits a page, and that pdfLaTeX sets it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.accounts import ledger
from reports.comparisons import compare
from reports.effects import factor_effects
from reports.latex import to_latex
from reports.latex_text import latex_escape
from reports.main_table import main_table
from reports.table import Cell, Column, Table
from tests.reports import synthetic
from tests.reports.drawings import crossed


def table(*texts: str, strong: bool = False, columns: int = 1) -> Table:
    rows = tuple(
        (Cell(text, strong=strong), *(Cell("−0.5123 [−0.5126, −0.5120]", key=-0.5) for _ in range(columns)))
        for text in texts
    )
    titles = (Column("arm"), *(Column(f"value {place}", numeric=True) for place in range(columns)))
    return Table("example_table", "A caption.", titles, rows, ("A note: 5 %.",), pd.DataFrame())


def test_it_is_a_booktabs_table_with_its_notes_below() -> None:
    assert to_latex(table("a", "b", strong=True)).splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"% about 2.3 in wide",
        r"\begin{table}",
        r"\centering",
        r"\caption{A caption.}",
        r"\label{tab:example-table}",
        r"\smallskip",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"arm & value 0 \\",
        r"\midrule",
        r"\textbf{a} & $-$0.5123 [$-$0.5126, $-$0.5120] \\",
        r"\textbf{b} & $-$0.5123 [$-$0.5126, $-$0.5120] \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"",
        r"\medskip",
        r"\parbox{\linewidth}{\footnotesize A note: 5~\%.}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("100 % & more", r"100 \% \& more"),
        ("a_b^c~d", r"a\_b\textasciicircum{}c\textasciitilde{}d"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("$x$ #1", r"\$x\$ \#1"),
        ("two\nlines", "two lines"),
        ("[2, 2]", "[2, 2]"),
        ("2ⁿ and 10⁻⁵", "2$^{n}$ and 10$^{-}$$^{5}$"),
        ("<b>|`", r"\textless{}b\textgreater{}\textbar{}\textasciigrave{}"),
        ("--fast – 1---2", "-{}-fast -- 1-{}-{}-2"),
        ("λ=0.5, Δ, 𝛼", r"$\lambda$=0.5, $\Delta$, $\alpha$"),
        ("naïve Ångström", "naïve Ångström"),
        ("a\x00b", "a?b"),
    ],
)
def test_escapes(text: str, latex: str) -> None:
    assert latex_escape(text) == latex


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_no_text_leaves_latex_unbalanced_or_commanding(text: str) -> None:
    escaped = latex_escape(text)
    known = r"\\(textbackslash|textasciitilde|textasciicircum|textasciigrave|textless|textgreater|textbar)\{\}|-\{\}"
    rest = re.sub(known, "", escaped)
    rest = re.sub(r"\\[&%$#_{}]", "", rest)
    assert not re.search(r"[\\&%$#_{}~^`<>|\"\n]|--", rest)


def test_a_cell_in_brackets_is_no_option_of_the_line_before() -> None:
    assert r"{[2, 2]} & " in to_latex(table("[2, 2]"))


def test_long_texts_are_paragraphs_in_which_long_words_break() -> None:
    latex = to_latex(table("training.a_word_that_has_no_space_in_it", "b"))
    assert r"{>{\raggedright\arraybackslash}p{12em}r}" in latex
    assert r"training.\allowbreak{}a\_\allowbreak{}word\_" in latex
    assert r"\addlinespace[2pt] b & " in latex
    assert latex.startswith(r"% needs \usepackage{array,booktabs}")


def test_what_is_wide_is_set_smaller_and_then_in_blocks_with_every_column_once() -> None:
    shown = [table("a", columns=2), table("a" * 22, columns=2), table("a", columns=3)]
    sizes = [re.findall(r"^\\(?:small|footnotesize)$", to_latex(one), re.M) for one in shown]
    assert sizes == [[], [r"\small"], [r"\footnotesize"]]
    latex = to_latex(table("a", "b", columns=9))
    assert "% parted into 3 blocks of columns, each with the first" in latex
    headings = [line.removesuffix(r" \\").split(" & ") for line in latex.splitlines() if line.startswith("arm & ")]
    assert [heading[0] for heading in headings] == ["arm"] * 3
    assert [title for heading in headings for title in heading[1:]] == [f"value {place}" for place in range(9)]
    assert {len(heading) for heading in headings} == {4}


def test_totals_stand_below_a_rule() -> None:
    study, trials, _ = synthetic.four_arms()
    lines = to_latex(ledger(study, trials)).splitlines()
    assert lines[lines.index(r"\bottomrule") - 2] == r"\midrule"


def test_the_head_says_what_is_too_long_or_not_in_the_font() -> None:
    assert "more than a page" not in to_latex(table(*"a" * 50))
    assert "% about 51 lines, more than a page: leave some out, or use longtable" in to_latex(table(*"a" * 51))
    assert "% needs XeLaTeX or LuaLaTeX, and a font that has 日 本" in to_latex(table("日本 é"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_pdflatex_sets_every_table_of_a_study_within_the_page(
    half_finished_report: Path, hostile_report: Path, tmp_path: Path
) -> None:
    written = [path.read_text() for folder in (half_finished_report, hostile_report) for path in
               sorted((folder / "tables").glob("*.tex"))]  # fmt: skip
    more = [synthetic.four_arms(6), synthetic.grid(), crossed()]
    written += [to_latex(main_table(study, trials, compare(study, trials))) for study, trials, _ in more]
    effects = factor_effects(*crossed()[:2])
    assert effects is not None
    letters = [chr(code) for code in range(0xA1, 0x180) if "XeLaTeX" not in to_latex(table(chr(code)))]
    assert len(letters) > 180
    written += [to_latex(effects), to_latex(table("αβγδεζηθικλμνξπρστυφχψω ΓΔΘΛΞΠΣΥΦΨΩ", " ".join(letters), "x" * 99))]
    titled = table("a")
    written.append(to_latex(replace(titled, columns=(Column("long " * 30), Column("y" * 99, numeric=True)))))
    assert sum(r"\textbf" in latex for latex in written) >= 4
    document = tmp_path / "tables.tex"
    document.write_text(
        r"\documentclass{article}\usepackage[textwidth=5.5in]{geometry}\usepackage{array,booktabs}\begin{document}"
        + "\n".join(f"\n{latex}\\clearpage" for latex in written) + r"\end{document}"
    )  # fmt: skip
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", document.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    log = (tmp_path / "tables.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "Missing character" not in log
    assert not re.findall(r"Overfull \\hbox.*", log)
