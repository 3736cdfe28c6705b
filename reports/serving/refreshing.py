"""The page as it is served: with a second script, which loads it again when it has changed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from markupsafe import escape

from reports.page import part, script_source

SCRIPT = "refresh.js"
STATIC_POLICY = re.compile(r"(?<=; )script-src [^;\"]+")
WAITING = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {policy}; base-uri 'none'">
<title>No report yet</title>
</head>
<body>
<p>The report cannot be built yet: {problem}</p>
<p>This page loads again as soon as it can.</p>
</body>
</html>
"""


@dataclass(frozen=True)
class ServedPage:
    """A page to answer with.

    Attributes:
        version: another text for every other page.
        content: UTF-8.
        ready: whether it is the report; False for one that says why there is none.

    """

    version: str
    content: bytes
    ready: bool = True


def refreshing(page: bytes) -> ServedPage:
    """Return a report's page as it is served; `page` is that of the file, which stays as it is."""
    version = hashlib.sha256(page).hexdigest()
    text, allowed = STATIC_POLICY.subn(lambda found: _policy(found[0]), page.decode("utf-8"), count=1)
    assert allowed, "the page has no policy for scripts"
    return ServedPage(version, _with_script(text, version))


def waiting_page(problem: str) -> ServedPage:
    """Return a page that says why there is no report, and loads again when there is one."""
    text = WAITING.format(problem=escape(problem), policy=_policy("script-src"))
    version = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return ServedPage(version, _with_script(text, version), ready=False)


def _policy(scripts: str) -> str:
    """Return a policy that also allows the added script, and what it asks this server for."""
    return f"{scripts} {script_source(part(SCRIPT))}; connect-src 'self'"


def _with_script(page: str, version: str) -> bytes:
    before, end, after = page.rpartition("</body>")
    return f'{before}<script data-version="{version}">{part(SCRIPT)}</script>\n{end}{after}'.encode()
