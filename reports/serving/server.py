"""The server: one study, read only, for browsers on this machine."""

from __future__ import annotations

import errno
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deepsight.errors import UserError
from reports.serving.addresses import HTML, TEXT, kind_of, listing, place_of
from reports.serving.live import LiveReport
from reports.writing import INDEX, REPORT_FOLDER

LOOPBACK = "127.0.0.1"
PAGE = f"/{REPORT_FOLDER}/"
VERSION = "/version"
HOST = re.compile(rf"({re.escape(LOOPBACK)}|localhost)(:\d+)?", re.IGNORECASE)
"""Any port: the one that a browser asks may be the near end of a tunnel."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
INERT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""What anything but the page may do; the page says the same, and more, in itself."""
SLOWEST = 20
"""Seconds that a browser may take to say what it wants."""


class ReportServer(ThreadingHTTPServer):
    """Serves the live report of a study, and the files that it links to, on the loopback interface.

    Args:
        live: the report.
        port: 0 for any that is free.

    Raises:
        UserError: the port cannot be had.

    """

    daemon_threads = True

    def __init__(self, live: LiveReport, port: int) -> None:
        self.live = live
        try:
            super().__init__((LOOPBACK, port), Handler)
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise UserError(f"--port {port}: this port {reason}; choose another, or 0 for any free one") from None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_address[1]}{PAGE}"

    def server_bind(self) -> None:
        """Bind without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone before its answer."""


@contextmanager
def serving(live: LiveReport, port: int) -> Iterator[ReportServer]:
    """Serve a report while the context lasts; `port` as for `ReportServer`."""
    server = ReportServer(live, port)
    thread = threading.Thread(target=server.serve_forever, name="server", daemon=True)
    live.start()
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        live.stop()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: ReportServer
    timeout = SLOWEST

    def do_GET(self) -> None:
        """Answer with a page, a file, or the names of those in a folder."""
        hosts = self.headers.get_all("Host", [])
        path = self.path.partition("?")[0]
        if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
            self._answer(HTTPStatus.FORBIDDEN, "This server answers 127.0.0.1 and localhost only.\n")
        elif path == "/":
            self._redirect(PAGE)
        elif path == VERSION:
            self._answer(HTTPStatus.OK, self.server.live.page().version)
        elif path in (PAGE, PAGE + INDEX):
            page = self.server.live.page()
            status = HTTPStatus.OK if page.ready else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, page.content, HTML, policy="frame-ancestors 'self'")
        else:
            self._answer_with(place_of(self.server.live.folder, path), path)

    do_HEAD = do_GET  # noqa: N815 - named by the standard library

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "This server only shows.\n", Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 - named by the standard library

    def _answer_with(self, place: Path | None, path: str) -> None:
        try:
            if place is not None and place.is_dir():
                if path.endswith("/"):
                    return self._answer(HTTPStatus.OK, listing(place), HTML)
                return self._redirect(f"{path}/")
            kind = kind_of(place, path) if place is not None else None
            if kind and place is not None and place.is_file() and not path.endswith("/"):
                return self._answer(HTTPStatus.OK, place.read_bytes(), kind)
        except OSError:
            pass  # gone meanwhile, or not ours to read
        return self._answer(HTTPStatus.NOT_FOUND, "There is nothing here.\n")

    def _redirect(self, path: str) -> None:
        self._answer(HTTPStatus.FOUND, "", Location=quote(path, safe="/%"))

    def _answer(
        self, status: HTTPStatus, content: str | bytes, kind: str = TEXT, policy: str = INERT, **headers: str
    ) -> None:
        body = content.encode("utf-8") if isinstance(content, str) else content
        self.send_response(status)
        lines = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
        for name, value in {**HEADERS, **lines, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Name the server without its version."""
        return "deepsight"

    def log_message(self, format: str, *values: Any) -> None:
        """Log nothing: the terminal is for what the study has to say."""
