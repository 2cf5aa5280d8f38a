"""Starts the server: ``python -m server``. The folder of the configuration is $CLICKHOUSE_CONFIG_DIR."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from server import config
from server.engine import Engine
from server.http import HttpHandler
from server.metrics import MetricsHandler
from server.native import NativeConnection
from server.service import Service
from server.users import ConfigurationError

log = logging.getLogger("server")


class Listener(socketserver.ThreadingTCPServer):
    """A listening port: a thread for each client, up to a number of clients."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: Any, places: threading.BoundedSemaphore) -> None:  # noqa: ANN401
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._places = places
        self._clients: set[socket.socket] = set()
        super().__init__(address, handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401
        """Refuses clients beyond max_connections."""
        if self._places.acquire(blocking=False):
            return True
        log.warning("refused %s: max_connections are open", client_address)
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serves one client and frees its place."""
        self._clients.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._clients.discard(request)
            self._places.release()

    def close_clients(self) -> None:
        """Ends all connections, so that their threads give their sessions back."""
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A client that left is no error; anything else is logged with its trace."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            log.exception("serving %s failed", client_address)


def _native_handler(service: Service) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            NativeConnection(service, self.request).run()

    return Handler


def _http_handler(base: type[BaseHTTPRequestHandler], service: Service, timeout: float) -> type[BaseHTTPRequestHandler]:
    return type(base.__name__, (base,), {"service": service, "timeout": timeout})


def _listen(settings: config.Configuration, service: Service) -> list[Listener]:
    places = threading.BoundedSemaphore(settings.max_connections)
    handlers = (
        (settings.http_port, _http_handler(HttpHandler, service, settings.keep_alive)),
        (settings.native_port, _native_handler(service)),
        (settings.metrics_port, _http_handler(MetricsHandler, service, settings.keep_alive)),
    )
    listeners = [
        Listener((host, port), handler, places) for host in settings.listen for port, handler in handlers if port
    ]
    for listener in listeners:
        threading.Thread(target=listener.serve_forever, name="listener", daemon=True).start()
    return listeners


def main() -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(
        level=os.environ.get("CLICKHOUSE_SERVER_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        settings = config.load(Path(os.environ.get("CLICKHOUSE_CONFIG_DIR", "/etc/clickhouse-server")))
        engine_config = config.write_engine_files(settings)
    except (ConfigurationError, OSError) as error:
        log.error("configuration: %s", error)  # noqa: TRY400  (the message says it all)
        return 78
    try:
        engine = Engine(data=settings.data, config=engine_config, max_queries=settings.max_queries)
    except RuntimeError as error:
        log.error("the engine did not start on %s: %s", settings.data, error)  # noqa: TRY400
        return 1
    service = Service(engine=engine, users=settings.users)
    listeners = _listen(settings, service)
    log.info(
        "ClickHouse engine %s as a library (chDB), not the official server; HTTP %d, native %d, metrics %d; users: %s",
        engine.version, settings.http_port, settings.native_port, settings.metrics_port, ", ".join(settings.users),
    )  # fmt: skip
    stop.wait()
    log.info("stopping: no new clients, %d queries run", engine.running)
    for listener in listeners:
        listener.shutdown()
        listener.server_close()
    engine.drain(settings.shutdown_wait)
    for listener in listeners:
        listener.close_clients()
    service.close_sessions()
    if not engine.close(settings.shutdown_wait):
        log.warning("stopped with a statement that did not end; the engine recovers at the next start")
    log.info("stopped")
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Threads of idle clients are still in the engine's hands: leave without tearing the interpreter down around them.
    os._exit(code)
