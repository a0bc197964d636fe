"""A proxy that writes down what went over the wire: for clients that do not look at it themselves."""

from __future__ import annotations

import http.client
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Call:
    """One request and its answer."""

    method: str
    path: str
    headers: dict[str, str]
    status: int
    answer: bytes


class Wire:
    """A proxy on a free port of 127.0.0.1, while the context lasts.

    Args:
        behind: ``host:port``.
    """

    def __init__(self, behind: str) -> None:
        self.calls: list[Call] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(behind, self.calls))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Where to send what is to be written down."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(behind: str, calls: list[Call]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            connection = http.client.HTTPConnection(behind, timeout=60)
            connection.request(self.command, self.path, body, {**dict(self.headers), "Host": behind})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            headers = {name.lower(): value for name, value in self.headers.items()}
            calls.append(Call(self.command, self.path, headers, answer.status, content))
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type") or "")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = forward

        def log_message(self, format: str, *args: object) -> None:
            """Not to stderr."""

    return Handler
