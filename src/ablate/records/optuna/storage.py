"""Where the studies of sweeps are kept: a journal file, or a database by its URL."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from ablate.errors import LedgerError

# How long a database may be busy with others, and how long it may take to answer at all.
BUSY_SECONDS, CONNECT_SECONDS = 20, 10
# Of commands that make a database's tables at the same time, so many are expected; one needs about so long.
MOST_MAKERS, MAKING_SECONDS = 8, 0.5
CONNECT = {"sqlite": {"timeout": BUSY_SECONDS}, "postgresql": {"connect_timeout": CONNECT_SECONDS}}


def is_url(storage: str) -> bool:
    """Whether it names a database and not a journal file."""
    return "://" in storage


def open_storage(storage: str) -> BaseStorage:
    """The storage at a database's URL or at the path of a journal file, which is made if it is not there.

    Raises:
        LedgerError: it can't be read or written, or its URL has a password, which records would keep.
    """
    # Optuna tells of every trial on its own.
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
    """Turns what a database raises inside the block into one LedgerError that says what to do."""
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
        f"hydra.sweeper.storage={storage}: the studies can't be read or written ({reason.splitlines()[0]}). Does "
        "another program hold it, or is it out of reach? Nothing is lost; the same command goes on where it was."
    )


def _database(url: str) -> RDBStorage:
    parsed = sqlalchemy.engine.make_url(url)
    if parsed.password:
        raise LedgerError(
            f"hydra.sweeper.storage={parsed.render_as_string(hide_password=True)}: has a password, which the ledger "
            "would keep. Leave it out and put it where the database's own tools look for it (PGPASSWORD, ~/.pgpass)."
        )
    arguments = CONNECT.get(parsed.get_backend_name(), {})
    for _ in range(MOST_MAKERS):
        try:
            return RDBStorage(url, engine_kwargs={"connect_args": arguments})
        except sqlalchemy.exc.DBAPIError as error:
            # Another process makes its tables at this moment, which Optuna does not foresee.
            if not any(sign in str(error) for sign in ("already exists", "UNIQUE constraint", "duplicate key")):
                raise
            time.sleep(MAKING_SECONDS)
    return RDBStorage(url, engine_kwargs={"connect_args": arguments})


class _MendingLock(JournalFileSymlinkLock):
    """Optuna's lock; whoever takes it first takes away the half line of a process that died while it wrote.

    A line behind half a line could never be read again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        """Returns when the lock is held and the journal ends with a whole line."""
        is_held = super().acquire()
        if not _is_whole(self._path):
            os.truncate(self._path, self._path.read_bytes().rfind(b"\n") + 1)
        return is_held


def _journal(path: Path) -> JournalStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        first = file.readline()
    if first and not first.startswith(b'{"op_code"'):
        raise LedgerError(
            f"hydra.sweeper.storage={path}: is there and is no journal of studies. For a database write "
            "sqlite:///PATH; else name another file."
        )
    lock = _MendingLock(path)
    lock.acquire()
    lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return True
        file.seek(end - 1)
        return file.read(1) == b"\n"


def placed(storage: str) -> str:
    """The same storage, named so that it means the same in any folder."""
    sqlite = "sqlite:///"
    if storage.startswith(sqlite) and storage != sqlite and not storage.startswith(f"{sqlite}:"):
        return f"{sqlite}{Path(storage.removeprefix(sqlite)).expanduser().absolute()}"
    return storage if is_url(storage) else str(Path(storage).expanduser().absolute())
