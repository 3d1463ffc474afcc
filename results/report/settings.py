"""The full configuration of each run: what was asked for, and everything that its folder keeps of it."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

from results.report.blocks import Section, block, heading, prose
from results.report.material import Material, Run
from results.report.wording import MISSING, moment


def settings_section(material: Material) -> Section:
    """A table of options a run, and all of its run.json but the trials."""
    blocks = [prose("What each run was started with. Options without a value were decided by the data and the device.")]
    for run in material.runs:
        if material.several:
            blocks.append(heading(run.name))
        options = run.configuration.get("options")
        if options:
            blocks.append(block("options", [(_spoken(name), _plain(value)) for name, value in options.items()]))
        for start in run.starts[-1:]:
            rows = [(_spoken(name), _plain(value)) for name, value in start.get("settings", {}).items()]
            versions = ", ".join(f"{name} {value}" for name, value in start.get("versions", {}).items())
            blocks.append(
                prose(f"Begun or resumed last at {moment(start.get('time'))} on {start.get('host')}, with {versions}.")
            )
            blocks.append(block("options", rows))
        blocks.append(block("fold", "Everything that run.json holds", _whole(run)))
    return Section("settings", "Configuration", tuple(blocks))


def _whole(run: Run) -> Markup:
    return Markup('<pre class="json">{}</pre>').format(json.dumps(run.configuration, indent=1, default=str))


def _spoken(name: str) -> str:
    return name.replace("_", "-")


def _plain(value: Any) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, default=str)
