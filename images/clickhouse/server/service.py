"""What the protocols share: the engine, the users, open sessions, and a look-out for clients that leave."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from server import sql
from server.engine import Engine
from server.errors import SESSION_IS_LOCKED, ServerError
from server.packets import CLIENT_CANCEL
from server.session import Session
from server.users import User

log = logging.getLogger("queries")

_SESSION_SECONDS: Final = 60.0
_ERROR_TEXT: Final = 300


@dataclass(kw_only=True)
class _Named:
    session: Session
    lock: threading.Lock
    expires: float


class Service:
    """One for the process."""

    def __init__(self, *, engine: Engine, users: Mapping[str, User]) -> None:
        self.engine = engine
        self.users = users
        self.version = engine.version
        self.timezone = engine.timezone
        self.display_name = socket.gethostname()
        self._named: dict[tuple[str, str], _Named] = {}
        self._named_lock = threading.Lock()
        self._watcher = _Watcher()

    def open_session(self, user: User, database: str) -> Session:
        """A session of its own; the caller closes it."""
        return Session(engine=self.engine, user=user, database=database or user.default_database)

    @contextlib.contextmanager
    def session(self, user: User, database: str, session_id: str, timeout: float) -> Iterator[Session]:
        """A session for one HTTP request, or the named one that lives ``timeout`` seconds beyond it."""
        self._expire()
        if not session_id:
            session = self.open_session(user, database)
            try:
                yield session
            finally:
                session.close()
            return
        with self._named_lock:
            key = (user.name, session_id)
            if key not in self._named:
                self._named[key] = _Named(session=self.open_session(user, database), lock=threading.Lock(), expires=0)
            named = self._named[key]
            if not named.lock.acquire(blocking=False):
                raise ServerError(SESSION_IS_LOCKED, f"Session {session_id} is locked by a concurrent client")
        try:
            yield named.session
        finally:
            named.expires = time.monotonic() + (timeout or _SESSION_SECONDS)
            named.lock.release()

    def close_sessions(self) -> None:
        """Ends the named sessions that no request uses."""
        with self._named_lock:
            idle = [named.session for named in self._named.values() if not named.lock.locked()]
            self._named.clear()
        for session in idle:
            session.close()

    def _expire(self) -> None:
        now = time.monotonic()
        with self._named_lock:
            old = [key for key, named in self._named.items() if 0 < named.expires < now and not named.lock.locked()]
            sessions = [self._named.pop(key).session for key in old]
        for session in sessions:
            session.close()

    def watch(self, sock: socket.socket, session: Session) -> contextlib.AbstractContextManager[None]:
        """While in this context, a client that sends Cancel or leaves stops the session's statement."""
        return self._watcher.watch(sock, session)

    def log_error(self, user: str, statement: str, error: ServerError) -> None:
        """Writes a failed statement to the log: its first word only, for the rest may hold data or a password."""
        verb = sql.first_word(statement) or "a"
        log.info("%s statement of %s failed: code %d %s: %s", verb, user or "an HTTP client", error.code, error.name,
                 error.message[:_ERROR_TEXT])  # fmt: skip


class _Watcher:
    """A thread that looks at the sockets of clients whose statement runs."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._sessions: dict[int, tuple[socket.socket, Session]] = {}
        threading.Thread(target=self._run, name="watcher", daemon=True).start()

    @contextlib.contextmanager
    def watch(self, sock: socket.socket, session: Session) -> Iterator[None]:
        number = sock.fileno()
        self._sessions[number] = (sock, session)
        self._poll.register(number, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)
        try:
            yield
        finally:
            self._poll.unregister(number)
            self._sessions.pop(number, None)

    def _run(self) -> None:
        while True:
            for number, _ in self._poll.poll():
                sock, session = self._sessions.get(number, (None, None))
                if sock is None or session is None:
                    continue
                with contextlib.suppress(OSError):
                    seen = sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                    if seen in (b"", bytes((CLIENT_CANCEL,))):
                        session.cancel()
