"""Texts that LaTeX prints as they are, and that a plain pdfLaTeX can."""

from __future__ import annotations

import re
import unicodedata

PIECES = re.compile(r"[^_./:,=(\[{-]{1,16}[_./:,=(\[{-]?|.")
"""Parts of a long word of a paragraph, between which a line may be broken."""
SYMBOLS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\N{NO-BREAK SPACE}": "~",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "–": "--",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "⁻": "$^{-}$",
    "ⁿ": "$^{n}$",
    **{superscript: f"$^{{{digit}}}$" for digit, superscript in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{
        unicodedata.lookup(f"GREEK SMALL LETTER {name.upper().replace('LAMBDA', 'LAMDA')}"): rf"$\{name}$"
        for name in (
            "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
            "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
        )
    },
    **{
        unicodedata.lookup(f"GREEK CAPITAL LETTER {name.upper().replace('LAMBDA', 'LAMDA')}"): rf"$\{name}$"
        for name in ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
    },
}  # fmt: skip
"""What LaTeX reads as a command, or what a plain pdfLaTeX font does not have."""
NOT_IN_FONT = "«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"
"""Letters of Europe that a plain pdfLaTeX font does not have; all others up to U+017F it has."""


def latex_escape(text: str) -> str:
    """Return a text that LaTeX prints as it is."""
    text = re.sub(r"[^\S\N{NO-BREAK SPACE}]+", " ", text).strip()
    followed = zip(text, f"{text[1:]} ", strict=False)
    # Two hyphens would become a dash.
    return "".join(_escaped(character) + "{}" * (character == after == "-") for character, after in followed)


def _escaped(character: str) -> str:
    if character in SYMBOLS:
        return SYMBOLS[character]
    if not character.isprintable():
        return "?"
    if _in_font(character):
        return character
    plain = unicodedata.normalize("NFKC", character)
    known = plain != character and all(letter in SYMBOLS or _in_font(letter) for letter in plain)
    return "".join(map(_escaped, plain)) if known else character


def _in_font(character: str) -> bool:
    return ord(character) <= 0x17F and character not in NOT_IN_FONT


def breakable(text: str) -> str:
    """Return an escaped text whose long words may be broken, behind a sign or far from any."""
    words = (r"\allowbreak{}".join(map(latex_escape, PIECES.findall(word))) for word in text.split())
    return " ".join(words)


def not_in_font(text: str) -> list[str]:
    """Return the characters of an escaped text that a plain pdfLaTeX font does not have."""
    return sorted({character for character in text if not _in_font(character)})
