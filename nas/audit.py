"""`nas proxy audit`: whether a brief training ranks networks as a longer one does, and which cheaper one still would.

The same stratified networks are trained by the proxy task with several seeds, by a longer reference, and by cheaper
proxies: each is a run of its own in the audit's folder, stored and resumed as every run is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nas.conduct import run_through
from nas.config import Search, SearchConfig
from nas.controllers.stratified import Stratified
from nas.runs import RunSettings, reopen, start
from nas.search import Workers, on_tune
from results.store import TrialStore

CHEAPER = ("image", "epochs", "data", "width")
"""What cheaper proxies save at: half of each (three quarters, too, of the image size)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What is compared.

    Args:
        config: of the search whose proxy task is audited.
        networks: how many are trained in each way.
        reference_epochs: of the longer training; None is ten times the proxy's.
        seeds: how often each network is trained by the proxy, with other seeds.
        reference_seeds: the same of the reference, whose accuracies are averaged.
        cheaper: what cheaper proxies save at, of `CHEAPER`.
        threshold: the least Kendall tau of accuracies that a cheaper proxy must keep.

    Raises:
        ValueError: a value is out of its range, or a name unknown.
    """

    config: SearchConfig
    networks: int = 20
    reference_epochs: int | None = None
    seeds: int = 2
    reference_seeds: int = 1
    cheaper: Sequence[str] = CHEAPER
    threshold: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("networks", 3), ("seeds", 1), ("reference_seeds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold must be a Kendall tau, from -1 to 1; got {self.threshold}")
        if unknown := [name for name in self.cheaper if name not in CHEAPER]:
            raise ValueError(f"cheaper proxies save at {', '.join(CHEAPER)}; got {', '.join(unknown)}")
        if self.config.evaluator != "proxy":
            raise ValueError(f"the audited evaluator must be proxy, which trains; got {self.config.evaluator}")

    def variants(self, epochs: int, image_size: int) -> dict[str, SearchConfig]:
        """Every way of training, by the name of its run; the proxy first.

        Args:
            epochs: of the proxy.
            image_size: of the proxy, in pixels.

        Raises:
            ValueError: the reference is no longer than the proxy.
        """
        proxy = replace(self.config, epochs=epochs, image_size=image_size, controller="stratified", random_arm=0.0)
        longer = self.reference_epochs or 10 * epochs
        if longer <= epochs:
            raise ValueError(f"the reference must train longer than the proxy's {epochs} epochs; got {longer}")
        reference = replace(proxy, epochs=longer)
        found = {_seeded("proxy", n): replace(proxy, seed=proxy.seed + n) for n in range(self.seeds)}
        found |= {_seeded("reference", n): replace(reference, seed=proxy.seed + n) for n in range(self.reference_seeds)}
        if "image" in self.cheaper:
            sizes = {max(8, round(image_size * share / 8) * 8) for share in (0.75, 0.5)}
            found |= {f"image-{s}": replace(proxy, image_size=s) for s in sorted(sizes, reverse=True) if s < image_size}
        if "epochs" in self.cheaper and epochs > 1:
            found[f"epochs-{epochs // 2}"] = replace(proxy, epochs=epochs // 2)
        if "data" in self.cheaper:
            found["data-half"] = replace(proxy, train_share=proxy.train_share / 2)
        if "width" in self.cheaper:
            found["width-half"] = replace(proxy, width=proxy.width / 2)
        return found


def _seeded(name: str, number: int) -> str:
    return name if number == 0 else f"{name}-seed-{number}"


@dataclass(frozen=True, slots=True)
class Conduct:
    """How an audit is conducted: what may change when it is resumed."""

    workers: Workers
    trial_timeout_s: float | None
    say: Callable[[str], None]
    quiet: bool


def conduct_audit(audit: Audit, folder: Path, conduct: Conduct) -> list[str] | None:
    """Train what has not been trained yet. A space of fewer networks than were asked for is trained whole.

    Returns:
        the names of the ways of training, the proxy first; None where it was interrupted.

    Raises:
        ValueError: the folder holds an audit of another task (lists the fields that differ), or networks fail one
            after the other in the same way (says how).
    """
    proxy = replace(audit.config, controller="stratified", random_arm=0.0)
    with _ray_kept(conduct.workers):
        first, store = _opened(folder / "proxy", proxy)
        epochs = first.identity["task"]["recipe"]["epochs"]
        variants = audit.variants(epochs, first.problem.image_size)
        conduct.say(f"{len(variants)} ways to train {audit.networks} networks: {', '.join(variants)}")
        for number, (name, config) in enumerate(variants.items()):
            search, store = (first, store) if number == 0 else _opened(folder / name, config)
            # The same networks in every way: at another image size, others would be at the same quantiles.
            same = Stratified(search.problem.space, first.problem.features, audit.config.seed)
            title = f"{number + 1}/{len(variants)} {name}"
            if not _run(replace(search, controller=same), store, audit, conduct, title):
                return None
    return list(variants)


def _opened(folder: Path, config: SearchConfig) -> tuple[Search, TrialStore]:
    """A way of training, new or gone on with."""
    if (folder / "run.json").exists():
        options = asdict(config.with_absolute_paths())
        kept = TrialStore.open(folder).configuration["options"]
        unset = {name: kept[name] for name in ("epochs", "image_size") if options[name] is None}  # the proxy's own
        search, store, _ = reopen(folder, {**options, **unset})
        return search, store
    return start(config, folder)


def _run(search: Search, store: TrialStore, audit: Audit, conduct: Conduct, title: str) -> bool:
    """Take one run to its end; says whether it came to it, which it did not where it was interrupted.

    Raises:
        ValueError: something else stopped it.
    """
    settings = RunSettings(budget=audit.networks, trial_timeout_s=conduct.trial_timeout_s)
    session = run_through(search, store, settings, conduct.workers, title=title, say=conduct.say, quiet=conduct.quiet)
    if session is None:
        return False
    if session.stopped_because is not None:
        conduct.say(f"{title} has {session.evaluated} networks: {session.stopped_because}")
    return True


@contextmanager
def _ray_kept(workers: Workers) -> Iterator[None]:
    """Ray, where it is needed, started once for all runs."""
    with ExitStack() as stack:
        if on_tune(workers, None):
            from nas.ray_cluster import ray_started  # loads Ray

            stack.enter_context(ray_started(workers))
        yield
