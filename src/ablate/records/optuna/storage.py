"""Storage of studies: a journal file, or a database by its URL."""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from ablate.errors import LedgerError

# Timeouts of a locked database and of a connection.
BUSY_SECONDS, CONNECT_SECONDS = 20, 10
# Commands that create a database's tables at the same time, and the time that one needs.
MOST_MAKERS, MAKING_SECONDS = 8, 0.5
CONNECT = {"sqlite": {"timeout": BUSY_SECONDS}, "postgresql": {"connect_timeout": CONNECT_SECONDS}}
# Without a pool nothing stays open: Python 3.13 warns of connections to SQLite that nobody closed.
POOLS: dict[str, dict[str, Any]] = {"sqlite": {"poolclass": sqlalchemy.pool.NullPool}}


def is_url(storage: str) -> bool:
    """Whether the storage is a database and not a journal file."""
    return "://" in storage


def open_storage(storage: str) -> BaseStorage:
    """Open the database at a URL or the journal file at a path; create it if it does not exist.

    Raises:
        LedgerError: the storage cannot be read or written, or its URL has a password, which records would keep.
    """
    # Optuna logs every trial.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with storage_errors(storage):
        try:
            return _database(storage) if is_url(storage) else _journal(Path(storage).expanduser().absolute())
        except ImportError as error:
            driver = getattr(error.__cause__ or error, "name", None)
            raise LedgerError(f"hydra.sweeper.storage={storage}: needs its driver: pip install {driver}") from None
        except (OSError, ValueError) as error:
            raise _unusable(storage, error) from error


@contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """Turn errors of a database inside the block into a LedgerError that says what to do."""
    try:
        yield
    except sqlalchemy.exc.NoSuchModuleError as error:
        known = "a path (a journal file), sqlite:///PATH or postgresql+psycopg://HOST/DATABASE"
        raise LedgerError(f"hydra.sweeper.storage={storage}: {error}. Allowed: {known}.") from None
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise _unusable(storage, error) from error


def _unusable(storage: str, error: Exception) -> LedgerError:
    reason = str(getattr(error.__cause__, "orig", None) or getattr(error, "orig", None) or error).strip()
    return LedgerError(
        f"hydra.sweeper.storage={storage}: cannot read or write the studies ({reason.splitlines()[0]}). Is it locked "
        "by another program, or out of reach? Nothing is lost; run the same command again to resume."
    )


def _database(url: str) -> RDBStorage:
    parsed = sqlalchemy.engine.make_url(url)
    if parsed.password:
        raise LedgerError(
            f"hydra.sweeper.storage={parsed.render_as_string(hide_password=True)}: has a password, which the ledger "
            "would keep. Leave it out and set PGPASSWORD or ~/.pgpass."
        )
    backend = parsed.get_backend_name()
    arguments = {"connect_args": CONNECT.get(backend, {}), **POOLS.get(backend, {})}
    for _ in range(MOST_MAKERS):
        try:
            return RDBStorage(url, engine_kwargs=arguments)
        except sqlalchemy.exc.DBAPIError as error:
            # Another process creates the tables at the same time; Optuna does not handle that.
            if not any(sign in str(error) for sign in ("already exists", "UNIQUE constraint", "duplicate key")):
                raise
            time.sleep(MAKING_SECONDS)
    return RDBStorage(url, engine_kwargs=arguments)


class _RepairingLock(JournalFileSymlinkLock):
    """Optuna's lock. Acquiring it removes the incomplete last line of a process that died while it wrote.

    A line appended to an incomplete line could not be read again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        """Return when the lock is acquired and the journal ends with a complete line."""
        is_acquired = super().acquire()
        if not _is_complete(self._path):
            os.truncate(self._path, self._path.read_bytes().rfind(b"\n") + 1)
        return is_acquired


def _journal(path: Path) -> JournalStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        first = file.readline()
    if first and not first.startswith(b'{"op_code"'):
        raise LedgerError(
            f"hydra.sweeper.storage={path}: exists and is not a journal of studies. For a database type "
            "sqlite:///PATH; otherwise choose another file."
        )
    lock = _RepairingLock(path)
    lock.acquire()
    lock.release()
    _check_lines(path)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _check_lines(path: Path) -> None:
    """Raise LedgerError for a line that Optuna could not read: it would fail at each start."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line) if line.endswith(b"\n") else {"op_code": None}
            except ValueError:
                entry = None
            if not isinstance(entry, dict) or "op_code" not in entry:
                raise LedgerError(
                    f"{path}: line {number} is damaged: {line[:40]!r}. Remove that line (sed -i {number}d {path}), "
                    "which loses what it recorded, or move the file away to tune again; trained candidates stay in the "
                    "ledger and are not trained again."
                )


def _is_complete(path: Path) -> bool:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return True
        file.seek(end - 1)
        return file.read(1) == b"\n"


def placed(storage: str) -> str:
    """Return the storage with an absolute path."""
    sqlite = "sqlite:///"
    if storage.startswith(sqlite) and storage != sqlite and not storage.startswith(f"{sqlite}:"):
        return f"{sqlite}{Path(storage.removeprefix(sqlite)).expanduser().absolute()}"
    return storage if is_url(storage) else str(Path(storage).expanduser().absolute())
