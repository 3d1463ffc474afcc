"""Names, close matches and files: how a user plugs in their own, and what they are told where it fails."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.plugins import absolute, is_file_reference, resolve, source_hash

REGISTERED = {"random": 1, "evolution": 2, "evolution-aged": 3}


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n\n"
        "@dataclass\nclass Point:\n    x: int\n\n"
        "def reward(accuracy):\n    return 2 * accuracy\n\n"
        "origin = Point(0)\nnothing = None\n_hidden = 1\n"
    )
    return path


def test_a_registered_name_is_what_it_stands_for() -> None:
    assert resolve("controller", "random", REGISTERED) == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [("evolutio", " Did you mean evolution or evolution-aged?"), ("Random", " Did you mean random?"), ("xyz", "")],
)
def test_an_unknown_name_lists_the_valid_ones_and_close_matches(text: str, hint: str) -> None:
    expected = (
        f"controller must be one of random, evolution, evolution-aged, or path/to/file.py:object; got {text!r}.{hint}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        resolve("controller", text, REGISTERED)


def test_an_object_of_a_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("reward", f"{file}:reward", {})(0.25) == 0.5
    assert resolve("reward", f"{file}:origin", {}).x == 0
    monkeypatch.chdir(file.parent)
    assert resolve("reward", "mine.py:reward", {}) is resolve("reward", f"{file}:reward", {}), "loaded once"


def test_files_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"value = {name!r}\n")
    assert [resolve("space", f"{tmp_path / n / 'mine.py'}:value", {}) for n in ("a", "b")] == ["a", "b"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"there is no file {tmp_path / 'no.py'}")):
        resolve("space", f"{tmp_path / 'no.py'}:space", {})
    with pytest.raises(ValueError, match="there is no file"):
        resolve("space", f"{tmp_path}/.py:space", {})


@pytest.mark.parametrize("name", ["rewrd", "nothing"])
def test_a_missing_object_lists_those_there_are(file: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"has no '{name}'; it has .*Point, reward, origin"):
        resolve("reward", f"{file}:{name}", {})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: "),
        ("import surely_not_there", "ModuleNotFoundError: No module named 'surely_not_there'"),
    ],
)
def test_a_file_that_raises_is_named_with_its_error(file: Path, code: str, error: str) -> None:
    content = file.read_text()
    file.write_text(code)
    with pytest.raises(ValueError, match=re.escape(f"{file} cannot be loaded: {error}")):
        resolve("reward", f"{file}:reward", {})
    file.write_text(content)
    assert resolve("reward", f"{file}:reward", {})(1) == 2, "a half-loaded module is not kept"


def test_what_is_a_file_reference() -> None:
    assert is_file_reference("a/b.py:name")
    assert is_file_reference("C:/a b.py:name")
    for text in ("random", "a.py", "a.txt:name", "a.py:", "a.py:two words", "a.py:1", ":a", "table:a.py"):
        assert not is_file_reference(text), text


def test_references_mean_the_same_from_another_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert absolute("mine.py:reward") == f"{file}:reward"
    assert absolute("random") == "random"


def test_the_hash_of_a_reference_is_its_files(file: Path) -> None:
    first = source_hash(f"{file}:reward")
    assert first is not None
    assert first == source_hash(f"{file}:origin")
    file.write_text(file.read_text() + "# changed\n")
    assert source_hash(f"{file}:reward") != first
    assert source_hash("random") is None
