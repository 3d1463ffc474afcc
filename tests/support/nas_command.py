"""The `nas` command, run in the process of the tests."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import NamedTuple

from nas.cli import main


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def nas(*arguments: object) -> Outcome:
    """Run `nas` with arguments."""
    out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = ["nas", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return Outcome(code, out.getvalue(), err.getvalue())


def error(*arguments: object) -> str:
    """What a command that is refused says last."""
    outcome = nas(*arguments)
    assert (outcome.code, outcome.out) == (1, ""), outcome
    return outcome.err.splitlines()[-1]
