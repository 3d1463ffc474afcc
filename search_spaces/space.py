"""`SearchSpace`: a backbone and the choices to make on it, stage by stage.

The factorised hierarchical space of MnasNet (arXiv 1807.11626, section 4.1) as EfficientNetV2 uses it
(arXiv 2104.00298, section 3.2): each stage has its own choices, and its layers share them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from search_spaces.architecture import Architecture, Stage
from search_spaces.distinct import DistinctWords, Word

Genotype = tuple[int, ...]
"""One option's index per choice, in the order of `SearchSpace.choices`."""

T = TypeVar("T")

_STAGE_FIELDS = tuple(f.name for f in fields(Stage))


@dataclass(frozen=True)
class Choice:
    """One decision: which of `options` a stage takes.

    Args:
        name: unique in its space, such as `stage3_kernel`.
        stage: the stage's number, counted from 1 as in the V2 paper's Table 4 (the stem is 0).
        options: at least one; each a mapping of `Stage` fields to values. One option may set several
            fields that go together (an op and its squeeze-excite); `{"layers": 0}` leaves the stage out.
    """

    name: str
    stage: int
    options: tuple[Mapping[str, Any], ...]

    def label(self, index: int) -> Any:
        """The option as one plain value: of the first field in which all options differ, else as text."""
        for field in self.options[0]:
            values = [option.get(field) for option in self.options]
            if None not in values and len(set(values)) == len(values):
                return values[index]
        return ",".join(f"{field}={value}" for field, value in self.options[index].items())


def vary(stage: int, **options: Sequence[Any]) -> tuple[Choice, ...]:
    """The choices of one stage: `vary(3, kernel=(3, 5), layers=(0, 1, 2))`.

    Args:
        stage: the stage's number, from 1.
        options: by name, the values of that `Stage` field, or mappings where several fields go together:
            `op=({"op": "mbconv", "se_ratio": 0.25}, {"op": "fused_mbconv", "se_ratio": 0})`.
    """
    return tuple(
        Choice(f"stage{stage}_{name}", stage, tuple(v if isinstance(v, Mapping) else {name: v} for v in values))
        for name, values in options.items()
    )


@dataclass(frozen=True)
class SearchSpace:
    """Every network that the choices can make of the backbone.

    `size` and `sample` speak of distinct networks: the choices of an absent stage fold into one, and so
    do combinations that spell the same layers across stages. Of the genotypes of one network, the
    lexicographically smallest is the canonical one; `sample` and `encode` return it.

    Args:
        name: what the command line calls it.
        backbone: gives every field that no choice sets, and the anchor that times are compared to.
        choices: any number per stage, in the order of the stages.

    Raises:
        ValueError: a choice names no stage of the backbone, an unknown field, no option, or the same field
            as another; or every stage could be absent.
    """

    name: str
    backbone: Architecture
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        names = [c.name for c in self.choices]
        if len(set(names)) < len(names):
            raise ValueError(f"choice names must be unique; got {sorted(names)}")
        if [c.stage for c in self.choices] != sorted(c.stage for c in self.choices):
            raise ValueError(f"choices must be in the order of their stages; got {[c.stage for c in self.choices]}")
        for choice in self.choices:
            self._check(choice)
        for number, choices in enumerate(self._by_stage, 1):
            set_by = [field for c in choices for field in sorted({f for o in c.options for f in o})]
            if len(set(set_by)) < len(set_by):
                raise ValueError(f"stage {number}: a field may be set by one choice only; got {sorted(set_by)}")
        if all(() in words for words in self._words):
            raise ValueError("at least one stage must always be present; here every stage may have 0 layers")

    def _check(self, choice: Choice) -> None:
        if not 1 <= choice.stage <= len(self.backbone.stages):
            raise ValueError(
                f"choice {choice.name}: stage must be 1 to {len(self.backbone.stages)}, as the backbone has; "
                f"got {choice.stage}"
            )
        if not choice.options:
            raise ValueError(f"choice {choice.name}: must have at least one option; got none")
        for field in {f for o in choice.options for f in o}:
            if field not in _STAGE_FIELDS:
                raise ValueError(f"choice {choice.name}: {field!r} is no field of a stage; it may set {_STAGE_FIELDS}")

    @property
    def size(self) -> int:
        """How many distinct networks the space holds (exact)."""
        return self._language.count

    def sample(self, rng: np.random.Generator) -> Genotype:
        """A network drawn uniformly from the distinct ones, as its canonical genotype."""
        return self.genotype_at(random_below(self.size, rng))

    def genotype_at(self, index: int) -> Genotype:
        """The canonical genotype of network number `index`, 0 <= index < size; a bijection."""
        return self._genotype(self._language.word(index))

    def decode(self, genotype: Genotype) -> Architecture:
        """The network that a genotype, canonical or not, stands for.

        Raises:
            ValueError: the genotype has another length, or an index that is no option.
        """
        stages = [stage for stage in self._stages_of(genotype) if stage is not None]
        return Architecture(self.backbone.stem_channels, tuple(stages), self.backbone.head_channels)

    def encode(self, architecture: Architecture) -> Genotype:
        """The canonical genotype of a network.

        Raises:
            ValueError: the space does not hold the network.
        """
        outer = (architecture.stem_channels, architecture.head_channels)
        if outer != (self.backbone.stem_channels, self.backbone.head_channels):
            raise ValueError(
                f"space {self.name} has stem {self.backbone.stem_channels} and head {self.backbone.head_channels}; "
                f"got {outer[0]} and {outer[1]}"
            )
        return self._genotype(tuple(letter for stage in architecture.stages for letter in _layers(stage)))

    def canonical(self, genotype: Genotype) -> Genotype:
        """The canonical genotype of the same network.

        Raises:
            ValueError: as `decode`.
        """
        if not self._stages_are_told_apart:
            return self.encode(self.decode(genotype))
        smallest = (s for s, _ in self._by_genes(genotype, self._canonical_parts))
        return tuple(index for part in smallest for index in part)

    def contains(self, architecture: Architecture) -> bool:
        """Whether some genotype stands for the network."""
        try:
            self.encode(architecture)
        except ValueError:
            return False
        return True

    def mutate(self, genotype: Genotype, rng: np.random.Generator) -> Genotype:
        """Another network, one choice away: exactly one index differs, and so does the network.

        Raises:
            ValueError: no single change makes another network.
        """
        before = self.canonical(genotype)
        changes = [
            (place, option)
            for place, choice in enumerate(self.choices)
            for option in range(len(choice.options))
            if option != genotype[place]
        ]
        for change in rng.permutation(len(changes)):
            place, option = changes[change]
            mutant = (*genotype[:place], option, *genotype[place + 1 :])
            if self.canonical(mutant) != before:
                return mutant
        raise ValueError(f"space {self.name}: no single choice makes another network of {genotype}")

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """The networks one choice away, as canonical genotypes, in the order of the choices.

        A choice that does not matter gives the network itself; choices that spell one network give it several times.
        """
        return [
            self.canonical((*genotype[:place], option, *genotype[place + 1 :]))
            for place, choice in enumerate(self.choices)
            for option in range(len(choice.options))
            if option != genotype[place]
        ]

    def crossover(self, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
        """A child that takes each choice from one parent or the other with equal chance."""
        self._stages_of(a), self._stages_of(b)  # says what is wrong with a genotype of another space
        return tuple(x if heads else y for x, y, heads in zip(a, b, rng.random(len(a)) < 0.5, strict=True))

    def present(self, genotype: Genotype) -> tuple[bool, ...]:
        """For each choice, whether it matters: of an absent stage, only the one that leaves it out does."""
        return tuple(flag for _, flags in self._by_genes(genotype, self._canonical_parts) for flag in flags)

    def labels(self, genotype: Genotype) -> dict[str, Any]:
        """Each choice's option as a plain value, by its name; None for the choices of an absent stage."""
        present = self.present(genotype)
        return {
            c.name: c.label(index) if flag else None
            for c, index, flag in zip(self.choices, genotype, present, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `json.dumps`."""
        choices = [{"name": c.name, "stage": c.stage, "options": [dict(o) for o in c.options]} for c in self.choices]
        return {"name": self.name, "backbone": str(self.backbone), "choices": choices}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SearchSpace:
        """The inverse of `to_json`."""
        choices = tuple(Choice(c["name"], c["stage"], tuple(c["options"])) for c in data["choices"])
        return cls(data["name"], Architecture.parse(data["backbone"]), choices)

    @cached_property
    def _by_stage(self) -> list[list[Choice]]:
        return [[c for c in self.choices if c.stage == n + 1] for n in range(len(self.backbone.stages))]

    @cached_property
    def _made(self) -> list[dict[Genotype, Stage | None]]:
        """For each stage, what each combination of its choices makes of it."""
        made: list[dict[Genotype, Stage | None]] = []
        for stage, choices in zip(self.backbone.stages, self._by_stage, strict=True):
            combinations = itertools.product(*(range(len(c.options)) for c in choices))
            made.append({genes: _with_options(stage, choices, genes) for genes in combinations})
        return made

    @cached_property
    def _canonical_parts(self) -> list[dict[Genotype, tuple[Genotype, tuple[bool, ...]]]]:
        """For each stage, from its genes: the smallest genes that make the same layers, and which choices matter."""
        return [
            {
                genes: (
                    words[_layers(stage)],
                    tuple(
                        stage is not None or c.options[i].get("layers") == 0
                        for c, i in zip(choices, genes, strict=True)
                    ),
                )
                for genes, stage in made.items()
            }
            for made, words, choices in zip(self._made, self._words, self._by_stage, strict=True)
        ]

    @cached_property
    def _stages_are_told_apart(self) -> bool:
        """Whether no two stages can have a layer in common, so that each network is spelt stage by stage."""
        letters = [{letter for word in words for letter in word} for words in self._words]
        return sum(map(len, letters)) == len(set().union(*letters))

    @cached_property
    def _words(self) -> list[dict[Word, Genotype]]:
        """For each stage, the distinct sequences of layers it can be, with the smallest genes for each."""
        words: list[dict[Word, Genotype]] = []
        for made in self._made:
            by_word: dict[Word, Genotype] = {}
            for genes, stage in made.items():  # in lexicographic order
                by_word.setdefault(_layers(stage), genes)
            words.append(by_word)
        return words

    @cached_property
    def _language(self) -> DistinctWords:
        return DistinctWords(self._words)

    def _stages_of(self, genotype: Genotype) -> list[Stage | None]:
        return self._by_genes(genotype, self._made)

    def _by_genes(self, genotype: Genotype, tables: Sequence[Mapping[Genotype, T]]) -> list[T]:
        """What each stage's table holds for its genes."""
        if len(genotype) != len(self.choices):
            raise ValueError(
                f"a genotype of space {self.name} must have {len(self.choices)} indices; got {len(genotype)}"
            )
        place, found = 0, []
        for table, choices in zip(tables, self._by_stage, strict=True):
            genes = tuple(genotype[place : place + len(choices)])
            if genes not in table:
                limits = ", ".join(f"{c.name} < {len(c.options)}" for c in choices)
                raise ValueError(f"genotype indices must be at least 0 and {limits}; got {genes}")
            place += len(choices)
            found.append(table[genes])
        return found

    def _genotype(self, word: Word) -> Genotype:
        spellings = self._language.spellings(word)
        genes: list[int] = []
        position = 0
        for fitting, words in zip(spellings, self._words, strict=True):
            here = [(words[w], w) for start, w in fitting if start == position]
            if not here:
                raise ValueError(f"space {self.name} does not hold this network")
            smallest, taken = min(here, key=lambda pair: pair[0])
            genes.extend(smallest)
            position += len(taken)
        return tuple(genes)


def random_below(limit: int, rng: np.random.Generator) -> int:
    """An integer drawn uniformly from 0 to `limit` - 1; `limit` may exceed 64 bits."""
    bits = max(limit - 1, 0).bit_length()
    while True:
        drawn = int.from_bytes(rng.bytes((bits + 7) // 8)) >> (-bits % 8)
        if drawn < limit:
            return drawn


def _layers(stage: Stage | None) -> Word:
    """The stage as its sequence of layers; two networks are the same where these sequences are."""
    if stage is None:
        return ()
    design = (stage.op, stage.kernel, stage.expand_ratio, stage.channels, stage.se_ratio, stage.group_width)
    return ((*design, stage.stride), *[(*design, 1)] * (stage.layers - 1))


def _with_options(stage: Stage, choices: Sequence[Choice], genes: Genotype) -> Stage | None:
    """The stage with the chosen options; None where one of them leaves it out."""
    values: dict[str, Any] = {}
    for choice, index in zip(choices, genes, strict=True):
        values |= choice.options[index]
    if values.get("layers") == 0:
        return None
    try:
        return replace(stage, **values)
    except ValueError as error:
        raise ValueError(f"choices {[c.name for c in choices]} with options {genes}: {error}") from error
