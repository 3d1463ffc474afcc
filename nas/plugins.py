"""A registered name, or `path/to/file.py:object`: how a user plugs in their own."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def resolve(kind: str, text: str, registered: Mapping[str, Any]) -> Any:
    """The object that a name in `registered`, or a `file.py:object`, stands for.

    Raises:
        ValueError: there is no such name (lists them), file or object.
    """
    if text in registered:
        return registered[text]
    if is_file_reference(text):
        return _load(kind, text)
    close = difflib.get_close_matches(text, registered, n=2)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(f"{kind} must be one of {', '.join(registered)}, or path/to/file.py:object; got {text!r}.{hint}")


def is_file_reference(text: str) -> bool:
    """Whether a text has the form `path/to/file.py:object`."""
    path, colon, name = text.rpartition(":")
    return bool(colon) and path.endswith(".py") and name.isidentifier()


def absolute(text: str) -> str:
    """A file reference with its path made absolute, so that it means the same from another folder."""
    if not is_file_reference(text):
        return text
    path, _, name = text.rpartition(":")
    return f"{Path(path).resolve()}:{name}"


def source_hash(text: str) -> str | None:
    """The hash of the file that a reference names; None for a registered name."""
    if not is_file_reference(text):
        return None
    path = Path(text.rpartition(":")[0])
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _load(kind: str, text: str) -> Any:
    path, _, name = text.rpartition(":")
    file = Path(path).resolve()
    if not file.is_file():
        raise ValueError(f"{kind} {text}: there is no file {file}")
    module_name = f"nas_plugin_{file.stem}_{hashlib.blake2b(str(file).encode(), digest_size=4).hexdigest()}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise ValueError(f"{kind} {text}: {file} cannot be loaded: {type(error).__name__}: {error}") from error
    found = getattr(sys.modules[module_name], name, None)
    if found is None:
        names = [n for n in vars(sys.modules[module_name]) if not n.startswith("_")]
        raise ValueError(f"{kind} {text}: {file} has no {name!r}; it has {', '.join(names)}")
    return found


def check_callable(kind: str, text: str, found: Any, arguments: str) -> None:
    """Raises ValueError where an object cannot be called with these positional arguments."""
    wanted = f"{kind} {text} must be callable with ({arguments}); "
    if not callable(found):
        raise ValueError(f"{wanted}got {found!r}")
    try:
        signature = inspect.signature(found)
    except ValueError:  # some builtins have none
        return
    try:
        signature.bind(*arguments.split(", "))
    except TypeError as error:
        raise ValueError(f"{wanted}it takes {signature}") from error
