"""The papers' findings as commands: each study a short file that composes what the project has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.studies.study import Study

STUDIES = {
    "discovery": "does the search find what the paper found?",
    "fused-stages": "which stages are worth fusing (Table 3)?",
    "image-size": "what do smaller training pictures cost and save (Table 2)?",
    "augmentation-by-size": "do larger pictures want stronger augmentation (Table 5)?",
    "v1-v2": "how much faster do V2 networks train and run than V1's (Tables 10 and 11)?",
    "progressive": "what does progressive learning save (Table 12)?",
    "adaptive": "what is it worth that regularisation follows the picture size (Table 13)?",
    "scaling-runtime": "what does the step time follow when networks are scaled: macs, params, activations?",
    "proxy": "does the brief training rank networks as a longer one does?",
}
"""The studies by name, and what each asks."""


def load(name: str) -> Study:
    """A study.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in STUDIES:
        raise ValueError(f"a study must be one of {', '.join(STUDIES)}; got {name!r}")
    study: Study = import_module(f"nas.studies.{name.replace('-', '_')}").STUDY
    return study
