"""A webhook that Alertmanager posts to, and what arrived there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """Keeps every alert that was posted, in order."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []

    def statuses(self, name: str) -> list[str]:
        """``firing`` and ``resolved`` of an alert, as they came."""
        return [alert["status"] for alert in list(self.alerts) if alert["labels"]["alertname"] == name]

    def summary(self, name: str) -> str:
        """What the newest alert of that name says."""
        found = [alert["annotations"]["summary"] for alert in self.alerts if alert["labels"]["alertname"] == name]
        return str(found[-1])


@contextmanager
def webhook(address: tuple[str, int]) -> Iterator[Webhook]:
    """Listen on ``address`` while the block runs."""
    received = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.alerts += json.loads(body)["alerts"]
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(address, Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
