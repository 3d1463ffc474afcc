"""From one small network to a family, by every rule, and the uniform rule's own factors found by an evaluator.

1. The non-uniform rule (EfficientNetV2): S, M and L of a baseline, as `nas scale` makes them.
2. Uniform, fast and measured scaling to the same macs: what they spend them on.
3. EfficientNet's step 1 (arXiv 1905.11946, section 3.3): a grid search for alpha, beta and gamma at twice the macs,
   each point trained briefly on the 5,000 digits that come with the package. Any function of an architecture and an
   image size can be the score: a reward, a closed-form cost, another data set.

    python examples/scale_family.py           # 1 and 2, a second
    python examples/scale_family.py --train   # 3 as well, some minutes on two cores
"""

from __future__ import annotations

import argparse
import math
from functools import cache

from nas.scaling.fast import fast
from nas.scaling.measured import measured
from nas.scaling.nonuniform import MEMBERS, nonuniform
from nas.scaling.scaled import Scaled
from nas.scaling.targets import Target, closed_form, reach
from nas.scaling.uniform import compound, grid_search, macs_of
from search_spaces import PUBLISHED, SPACES, Architecture, cost

BASE, IMAGE_SIZE = PUBLISHED["efficientnetv2-b0"], 224


def line(member: Scaled) -> str:
    """A member on a line: picture size, cost, and channels x layers of each stage."""
    found = cost(member.architecture, member.image_size)
    stages = " ".join(f"{s.channels}x{s.layers}" for s in member.architecture.stages)
    return f"{member.image_size} px  {found.params / 1e6:.1f}M params  {found.macs / 1e9:.2f}G macs  {stages}"


def family() -> None:
    """Print S, M and L, and which of the rule's parts acted in L."""
    for name in MEMBERS:
        print(f"{name}: {line(nonuniform(BASE, name, image_size=IMAGE_SIZE))}")
    for rule in nonuniform(BASE, "l", image_size=IMAGE_SIZE).rules:
        print(f"   l: {rule}")


def at_equal_macs(times: float = 4.0) -> None:
    """Print what each rule makes of the same macs."""
    macs, target = closed_form("macs"), Target("macs", times, True)
    amount = target.amount(macs(BASE, IMAGE_SIZE))
    # with the step time as the price (nas.prices.Prices), the last is the rule that knows the device
    members = {
        "uniform": reach(lambda phi: compound(BASE, IMAGE_SIZE, phi), macs, target, amount, most=10.0),
        "fast": reach(lambda growth: fast(BASE, IMAGE_SIZE, math.exp(growth)), macs, target, amount, most=7.0),
        "measured": measured(BASE, IMAGE_SIZE, target, macs),
    }
    print(f"{times:g} times the macs, within 3 %:")
    for rule, member in members.items():
        print(f"  {rule:8} {line(member)}")


def find_factors(epochs: int, step: float) -> None:
    """Print the grid's points, best accuracy first."""
    from trainers import Data, ProxyTask, Recipe, load_data

    base, image_size = SPACES["small"].backbone, 32

    @cache
    def pictures(size: int) -> Data:
        return load_data("mnist5k", image_size=size)

    def score(architecture: Architecture, size: int) -> float:
        task = ProxyTask(pictures(size), Recipe(epochs=epochs), anchor=base)
        return [measurement.accuracy for measurement in task(architecture, 0)][-1]

    found = grid_search(base, image_size, score, budget=2.0, tolerance=0.15, step=step, measure=macs_of)
    print("alpha  beta  gamma  macs  accuracy")
    for point in found:
        alpha, beta, gamma = point.bases
        print(f"{alpha:5.2f} {beta:5.2f}  {gamma:5.2f} {point.growth:4.2f}x  {point.score:.4f}")


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", action="store_true", help="search alpha, beta and gamma by training")
    parser.add_argument("--epochs", type=int, default=2, help="of each point's training")
    parser.add_argument("--step", type=float, default=0.1, help="of the grid")
    arguments = parser.parse_args()
    family()
    at_equal_macs()
    if arguments.train:
        find_factors(arguments.epochs, arguments.step)


if __name__ == "__main__":
    main()
