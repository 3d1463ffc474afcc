"""`DistinctWords` against brute force: every concatenation spelled out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.distinct import DistinctWords, Word

words = st.lists(st.sampled_from("ab"), max_size=3).map(tuple)
languages = st.lists(st.lists(words, min_size=1, max_size=5, unique=True), min_size=1, max_size=4)


def spelled_out(languages: list[list[Word]]) -> dict[Word, list[tuple[Word, ...]]]:
    """Each distinct word with all its spellings."""
    found: dict[Word, list[tuple[Word, ...]]] = {}
    for parts in itertools.product(*languages):
        found.setdefault(tuple(itertools.chain(*parts)), []).append(parts)
    return found


@given(languages)
def test_count_is_that_of_brute_force(languages: list[list[Word]]) -> None:
    distinct = DistinctWords(languages)
    assert distinct.count == len(distinct) == len(spelled_out(languages))


@given(languages)
def test_numbers_and_words_are_one_to_one(languages: list[list[Word]]) -> None:
    distinct = DistinctWords(languages)
    numbered = [distinct.word(i) for i in range(distinct.count)]
    assert len(set(numbered)) == len(numbered)
    assert set(numbered) == set(spelled_out(languages))


@given(languages)
def test_the_numbering_is_a_function_of_the_languages(languages: list[list[Word]]) -> None:
    one, other = DistinctWords(languages), DistinctWords(languages)
    assert [one.word(i) for i in range(one.count)] == [other.word(i) for i in range(other.count)]


@given(languages, st.lists(st.sampled_from("abc"), max_size=12).map(tuple))
def test_spellings_are_the_parts_of_whole_spellings(languages: list[list[Word]], stranger: Word) -> None:
    distinct, found = DistinctWords(languages), spelled_out(languages)
    for word in [*found, stranger]:
        expected: list[set[tuple[int, Word]]] = [set() for _ in languages]
        for parts in found.get(word, []):
            for i, part in enumerate(parts):
                expected[i].add((sum(map(len, parts[:i])), part))
        spellings = distinct.spellings(word)
        assert list(map(set, spellings)) == expected
        assert list(map(len, spellings)) == list(map(len, expected))  # none twice


@given(languages)
def test_an_index_out_of_range_is_refused(languages: list[list[Word]]) -> None:
    distinct = DistinctWords(languages)
    for index in (-1, distinct.count):
        with pytest.raises(ValueError, match=f"index must be at least 0 and under {distinct.count}; got {index}"):
            distinct.word(index)


def test_a_count_beyond_64_bits_is_exact() -> None:
    distinct = DistinctWords([[(i, "a"), (i, "b"), (i, "c")] for i in range(60)])
    assert distinct.count == 3**60
    assert len({distinct.word(3**60 * i // 7) for i in range(7)}) == 7
    assert distinct.word(3**60 - 1) == tuple(x for i in range(60) for x in (i, "c"))


def test_absent_parts_fold() -> None:
    # each language: nothing or one "a" -> a^0 ... a^50, spelled in 2^50 ways
    distinct = DistinctWords([[(), ("a",)]] * 50)
    assert distinct.count == 51
    assert {distinct.word(i) for i in range(51)} == {("a",) * n for n in range(51)}
