"""Where Optuna keeps studies: opening a storage, and saying what is wrong with it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import optuna


def open_storage(url: str) -> Any:
    """Open a storage of Optuna's, making the database or the file where there is none.

    Args:
        url: a database as SQLAlchemy names it, such as `sqlite:///optuna.db`; anything without `://` is the path
            of a file for Optuna's journal, such as `optuna.log`.

    Returns:
        an `optuna.storages.RDBStorage` or `JournalStorage`.

    Raises:
        ValueError: it cannot be opened: an unknown kind of database, no driver for it, a folder that is not there
            or may not be written to, or a file that holds something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return _database(url) if "://" in url else _journal(Path(url))
    except Exception as error:  # every driver has errors of its own
        remedy = (
            "install that module, the database's driver"
            if isinstance(error, ImportError)
            else "see that its folder exists, that you may write there and that nothing else holds it locked"
        )
        raise ValueError(
            f"an Optuna storage must be a database that can be opened, such as sqlite:///optuna.db, or the path of a "
            f"journal file, such as optuna.log; got {_without_password(url)} ({reason_of(error)}): {remedy}"
        ) from error


def let_go(storage: Any) -> None:
    """Close a storage's connections, where it has any."""
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.engine.dispose()


def _database(url: str) -> Any:
    if url == "sqlite://" or ":memory:" in url:
        raise ValueError("a database in memory is gone when the search ends")
    # A server that went away and came back is connected to anew.
    return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def _journal(path: Path) -> Any:
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        raise ValueError(
            f"a journal does not end in {path.suffix}, and an SQLite database is given as sqlite:///{path}"
        )
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}")
    for needed in (path.parent, path):  # the lock is a file beside the journal
        if needed.exists() and not os.access(needed, os.W_OK):
            raise ValueError(f"{needed} may not be written to")
    if path.exists():
        content = path.read_bytes()
        if content and not (content.startswith(b'{"op_code"') and content.endswith(b"\n")):
            # Optuna would append to it, and neither could be read afterwards.
            raise ValueError("it holds something else than a journal of Optuna's, or one that was cut off")
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


def reason_of(error: BaseException) -> str:
    """The first line of what lies behind an error, as Optuna's own say little."""
    behind = error.__cause__ or error
    behind = getattr(behind, "orig", None) or behind  # the driver's own, which SQLAlchemy explains at length
    return _without_password((str(behind) or type(behind).__name__).splitlines()[0])


def _without_password(text: str) -> str:
    in_query = re.sub(r"([?&](?:password|passwd|pwd)=)[^&\s]*", r"\1***", text, flags=re.IGNORECASE)
    return re.sub(r"(://[^:/@\s]*:)\S*@", r"\1***@", in_query)
