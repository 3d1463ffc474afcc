"""The parts of a page, from the templates beside: figures, tables, legends. All text in them is escaped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

FOLDER = "template"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page that the contents name.

    Args:
        anchor: its address within the page.
        title: its heading.
        blocks: what it consists of.
    """

    anchor: str
    title: str
    blocks: tuple[Markup, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table that is sorted by something else than its text.

    Args:
        text: what stands in it.
        key: a number that it is sorted by.
    """

    text: Any
    key: float


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of the package, in which everything is escaped that is no markup."""
    return Environment(
        loader=PackageLoader("results.report", FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def block(name: str, *values: Any) -> Markup:
    """One of the macros of `blocks.html`, with its arguments in their order."""
    macro = getattr(environment().get_template("blocks.html").module, name)
    return cast(Markup, macro(*values))


def heading(text: str) -> Markup:
    """The heading of a part of a section."""
    return Markup("<h3>{}</h3>").format(text)


def prose(text: str | Markup, css: str = "") -> Markup:
    """A paragraph."""
    return block("prose", text, css)
