"""The audit of the default proxy: whether the brief training ranks networks of the small space as a longer one does.

The papers judge candidates by brief trainings and tell nothing of how well these rank: MnasNet (arXiv 1807.11626) by
5 epochs of ImageNet, EfficientNetV2 (arXiv 2104.00298, section 3.2) by about 10 at a reduced picture size. Here the
same stratified networks are trained briefly, with two seeds, and ten times as long (`nas/audit.py`); each way of
training is a run in the study's folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nas.show import plain
from nas.studies.folder import RUNS
from nas.studies.pace import SAFETY, Pace
from nas.studies.study import Conditions, Material, Place, Results, Size, Study, Told
from results.analysis.claims import Claim, Interval
from results.analysis.panels import Mark, Panel

if TYPE_CHECKING:
    from nas.audit import Audit
    from search_spaces import Architecture

# Modules that load Ray or the table of trials are imported inside the functions, so that `nas study --help` is quick.

SPACE = "small"

TIMED = 4
"""Networks whose steps are timed, to expect the time of all; spread over the space, as the first ones asked for are."""

BOUND = 0.5
"""Kendall's tau that a proxy is wanted to keep (`nas proxy audit`)."""

PAPERS = {"MnasNet's, in the paper": (5, None), "EfficientNetV2's, in the paper": (10, 350)}
"""Epochs of the papers' proxies ("about 10" the second), and of the final training where that is known."""

_PAPER = "tells nothing of its proxy's agreement"

_STEPS = (  # networks, pictures to train on, of the minival, trainings by the reference
    (8, 3_000, 1_000, 1),
    (12, 3_000, 1_000, 1),
    (20, 3_000, 1_000, 1),
    (30, 3_000, 1_000, 1),
    (30, 3_000, 1_000, 2),
    (50, 3_000, 1_000, 2),
    (50, 9_000, 1_000, 2),
    (50, 49_000, 1_000, 2),
)

LEAST = 5
"""Networks that an interval of tau needs. Of two orders that have nothing to do with each other, the interval was above
none in 5 % of the cases with 4 networks, and in 1 to 3 % with 5 to 30 (400 cases each; 2.5 % are wanted)."""


def sizes(material: Material) -> Sequence[Size]:
    """The smallest size, which shows that the study runs, and then the default proxy on more and more networks."""
    from trainers.recipe import Recipe, brief_epochs

    at_hand = material.train if material.test else material.train * 3 // 4  # an excerpt has test pictures, too
    test_pictures = min(100, material.test or material.train - at_hand)
    smallest: dict[str, int] = {
        "networks": 6,
        "pictures": min(400, at_hand),
        "minival": min(100, at_hand // 4),
        "test_pictures": test_pictures,
        "epochs": 1,
        "reference_epochs": 3,
        "seeds": 1,
        "reference_seeds": 1,
        "batch_size": 32,
        "image_size": 16,
    }
    found = [smallest]
    for networks, pictures, minival, reference_seeds in _STEPS:
        held_out = min(minival, at_hand // 4)
        together = min(pictures + minival, at_hand)
        epochs = brief_epochs(together - held_out)
        size = {
            "networks": networks,
            "pictures": together,
            "minival": held_out,
            "test_pictures": test_pictures,
            "epochs": epochs,
            "reference_epochs": 10 * epochs,
            "seeds": 2,
            "reference_seeds": reference_seeds,
            "batch_size": Recipe().batch_size,
            "image_size": 32,
        }
        if size not in found and together - held_out >= size["batch_size"]:
            found.append(size)
    return found


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit of the proxy; each way of training is a run, so that one that was interrupted goes on where it was.

    Args:
        name: of the step.
        audit: what is compared.
        train: pictures that are trained on.
        minival: pictures that are evaluated on.
        workers: trainings at a time.
    """

    alone: ClassVar[bool] = True

    name: str
    audit: Audit
    train: int
    minival: int
    workers: int

    def expected_s(self, pace: Pace) -> float:
        """Seconds that it takes with its workers: of each training its steps, evaluations, and the timing of a step."""
        from trainers.recipe import Recipe
        from trainers.training_time import timing_s

        config, recipe = self.audit.config, Recipe(batch_size=self.audit.config.batch_size or Recipe().batch_size)
        side = config.image_size or 32
        each = [pace.step_s(network, recipe, side) for network in self._first()]
        step_s, batch = sum(each) / len(each), recipe.batch_size
        trainings = [
            way.epochs * (self.train // batch + self.minival / batch / 3)  # a forward pass is a third of a step
            for way in self.audit.variants(config.epochs or 1, side).values()
            if way.epochs is not None
        ]
        whole = sum(trainings) * step_s + len(trainings) * timing_s(step_s, step_s)
        return SAFETY * self.audit.networks * whole / self.workers

    def run(self, place: Place) -> Mapping[str, Any]:
        """Conduct it, or go on; gives what `results.audit.report` does, with None where there is no number.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        from nas.audit import Conduct, conduct_audit
        from nas.conduct import check_workers
        from nas.runs import RunSettings
        from results.audit import report, write_report

        on_cpu = 0.0 if place.device == "cpu" else None
        settings = RunSettings(budget=self.audit.networks, workers=place.workers, gpus_per_trial=on_cpu)
        workers = check_workers(settings, self.audit.config.evaluator)
        folder = place.folder / RUNS
        ways = conduct_audit(self.audit, folder, Conduct(workers, None, place.say, quiet=place.quiet))
        if ways is None:
            raise KeyboardInterrupt
        found = report(folder, ways, threshold=self.audit.threshold)
        write_report(folder, found)
        told = plain(found)
        assert isinstance(told, dict)
        return told

    def _first(self) -> list[Architecture]:
        """The first networks that it trains."""
        from nas.controllers.stratified import Stratified
        from nas.problem import Problem
        from nas.reward import REWARDS
        from search_spaces import SPACES

        space, config = SPACES[self.audit.config.space], self.audit.config
        problem = Problem(space, REWARDS["accuracy"], config.image_size or 32)
        asked = Stratified(space, problem.features, config.seed)
        genotypes = [genotype for _ in range(TIMED) if (genotype := asked.ask()) is not None]
        return [space.decode(genotype) for genotype in genotypes]


def steps(conditions: Conditions, size: Size, place: Place) -> Sequence[Audited]:
    """The audit."""
    from nas.audit import Audit
    from nas.config import SearchConfig

    config = SearchConfig(
        space=SPACE,
        data=place.source,
        test_data=place.test_source,
        image_size=size["image_size"],
        epochs=size["epochs"],
        batch_size=size["batch_size"],
        minival=size["minival"],
        device=conditions.device,
        seed=conditions.seed,
        split_seed=conditions.seed,
    )
    audit = Audit(
        config=config,
        networks=size["networks"],
        reference_epochs=size["reference_epochs"],
        seeds=size["seeds"],
        reference_seeds=size["reference_seeds"],
        cheaper=(),
        threshold=BOUND,
    )
    return [Audited(_name(size), audit, size["pictures"] - size["minival"], size["minival"], place.workers)]


def told(conditions: Conditions, size: Size, results: Results) -> Told:
    """Kendall's tau of the proxy with the reference, by accuracy and by reward; and of the proxy's seeds."""
    found = results[_name(size)]
    (proxy,) = found["ways"]
    rows = [_row("the proxy", size["epochs"], size["reference_epochs"], proxy)]
    rows += [_row(row["way"].replace("-seed-", ", seed "), None, None, row) for row in found["noise"]]
    blank = dict.fromkeys(rows[0])
    rows += [
        {**blank, "way": name, "epochs": epochs, "reference_epochs": longer}
        for name, (epochs, longer) in PAPERS.items()
    ]
    claims = []
    for what in ("accuracy", "reward"):
        tau = _tau(proxy, what)
        agrees = f"By {what} the proxy agrees with the longer training (Kendall's tau)"
        claims += [
            Claim(f"{agrees} better than by chance", tau, "difference", _PAPER),
            Claim(f"{agrees} at over {BOUND:g}", tau, "difference", _PAPER, bound=BOUND),
        ]
    marks = [
        Mark.of(f"{what}: {way}", _tau(row, what))
        for what in ("accuracy", "reward")
        for way, row in (("the proxy", proxy), *((row["way"], row) for row in found["noise"]))
    ]
    panel = Panel("agreement with the longer training, and of seeds", "Kendall's tau", marks, none=0.0)
    return Told(table=rows, claims=claims, panels=[panel], changed=changed(conditions, size, found))


def changed(conditions: Conditions, size: Size, found: Mapping[str, Any]) -> list[str]:
    """What is not as in the papers, or not the default proxy."""
    lines = [
        f"pictures: {size['pictures'] - size['minival']:,} of {conditions.data} at {size['image_size']} px, and a "
        f"minival of {size['minival']:,}; the papers: ImageNet's, with a minival of about 25,000 (EfficientNetV2) and "
        "50,000 (MnasNet)",
        f"networks: {found['ways'][0]['accuracy_networks']} of the {SPACE} space, spread over its multiply-adds; the "
        "papers: up to 1,000 (EfficientNetV2) and about 8,000 (MnasNet), as their searches asked for them",
        f"the longer training has {size['reference_epochs']} epochs, not 350",
    ]
    if size["epochs"] == 1:  # the default proxy has two at the least
        lines.append(f"not the default proxy: {size['epochs']} epoch with batches of {size['batch_size']}, briefer")
    return lines


def _row(way: str, epochs: int | None, longer: int | None, row: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"way": way, "epochs": epochs, "reference_epochs": longer, "cost": row.get("cost")}
    for what in ("accuracy", "reward"):
        told |= {f"{what}_{name}": row[f"{what}_{name}"] for name in ("tau", "tau_low", "tau_high", "recall")}
    return {**told, "n": row["accuracy_networks"]}


def _tau(row: Mapping[str, Any], what: str) -> Interval:
    tau, low, high = (
        math.nan if (value := row[f"{what}_{name}"]) is None else float(value)
        for name in ("tau", "tau_low", "tau_high")
    )
    networks = row[f"{what}_networks"]
    return Interval(tau, low, high, networks) if networks >= LEAST else Interval(tau, math.nan, math.nan, networks)


def _name(size: Size) -> str:
    return f"audit-{size['networks']}-networks-{size['epochs']}-against-{size['reference_epochs']}-epochs"


STUDY = Study(
    question="does the brief training rank networks as a longer one does?",
    source="MnasNet (arXiv 1807.11626); EfficientNetV2 (arXiv 2104.00298), section 3.2",
    sizes=sizes,
    steps=steps,
    told=told,
)
