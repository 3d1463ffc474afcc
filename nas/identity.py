"""Whether two searches are one, or two networks measured alike: identities, and in what they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DECIDING = ("evaluator", "task", "image_size")


def deciding_measurements(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a search's identity that decides what is measured of a network."""
    source = identity.get("sources", {}).get("evaluator")  # a run written from Python may not say
    return {**{name: identity[name] for name in _DECIDING}, "sources": {"evaluator": source}}


def measured_by(configuration: Mapping[str, Any]) -> dict[str, Any] | None:
    """What decides the measurements of a run that is configured so; None where it does not say."""
    identity = configuration.get("identity", {})
    known = set(_DECIDING) <= set(identity)
    return deciding_measurements(brought_up_to_date(identity)) if known else None


def differences(now: Mapping[str, Any], then: Mapping[str, Any], prefix: str = "") -> list[str]:
    """In which fields two identities differ, a line each."""
    found = []
    for name in sorted({*now, *then}):
        a, b = now.get(name), then.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: the run has {_short(b)}, this is {_short(a)}")
    return found


def brought_up_to_date(identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """An identity as it is written now: before, the search's seed was the minival's too, and no picture was varied."""
    identity, task = {"zero_cost": False, **identity}, identity.get("task", {})
    if "recipe" not in task:
        return identity
    recipe = {"augmentation": "none", **task["recipe"]}
    return {**identity, "task": {"split_seed": identity["seed"], **task, "recipe": recipe}}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
