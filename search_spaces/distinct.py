"""Counting, numbering and recognising the distinct words of a concatenation of finite languages.

A search space is such a concatenation: each stage contributes one of finitely many sequences of layers,
and several combinations of choices can spell the same network (an absent stage, layers that merely go
on with the stage before). The subset construction (Rabin and Scott 1959) makes the automaton of all
spellings deterministic; in a deterministic automaton paths and words are the same, so that counting
paths counts networks, each once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

Letter = Hashable
Word = tuple[Letter, ...]


class DistinctWords:
    """The distinct words that a word of each language, in order, can spell.

    Args:
        languages: finite, non-empty sets of words (tuples of hashable letters, the empty word included).
    """

    def __init__(self, languages: Sequence[Iterable[Word]]) -> None:
        self._children: list[dict[Letter, int]] = []  # the tries of all languages, node by node
        self._language: list[int] = []
        self._ends_word: list[bool] = []
        self._roots = [self._add_trie(i, words) for i, words in enumerate(languages)]
        self._states: dict[frozenset[int], int] = {}
        self._accepts: list[bool] = []
        self._moves: list[list[tuple[Letter, int]]] = []  # by state, in the order letters were first met
        self._counts: list[int] = []
        self._start = self._state(frozenset(self._closed({self._roots[0]})))

    def __len__(self) -> int:
        return self._counts[self._start]

    @property
    def count(self) -> int:
        """How many distinct words there are (exact; `len` fails above 2^63)."""
        return self._counts[self._start]

    def word(self, index: int) -> Word:
        """The word of that number, 0 <= index < count; a bijection."""
        if not 0 <= index < self.count:
            raise ValueError(f"index must be at least 0 and under {self.count}; got {index}")
        state = self._start
        letters: list[Letter] = []
        while True:
            if self._accepts[state]:
                if index == 0:
                    return tuple(letters)
                index -= 1
            for letter, following in self._moves[state]:
                if index < self._counts[following]:
                    letters.append(letter)
                    state = following
                    break
                index -= self._counts[following]

    def spellings(self, word: Word) -> list[list[tuple[int, Word]]]:
        """For each language, the (position, word) pairs that lie on some spelling of the whole word."""
        ends: list[dict[int, list[Word]]] = []
        reached = {0}
        for root in self._roots:
            at: dict[int, list[Word]] = {start: self._prefixes(root, word, start) for start in sorted(reached)}
            ends.append(at)
            reached = {start + len(w) for start, words in at.items() for w in words}
        alive = {len(word)}
        result: list[list[tuple[int, Word]]] = []
        for at in reversed(ends):
            kept = [(start, w) for start, words in at.items() for w in words if start + len(w) in alive]
            alive = {start for start, _ in kept}
            result.append(kept)
        return result[::-1]

    def _prefixes(self, node: int, word: Word, start: int) -> list[Word]:
        found, end = [], start
        while True:
            if self._ends_word[node]:
                found.append(word[start:end])
            if end == len(word) or word[end] not in self._children[node]:
                return found
            node = self._children[node][word[end]]
            end += 1

    def _add_trie(self, language: int, words: Iterable[Word]) -> int:
        root = self._add_node(language)
        for word in words:
            node = root
            for letter in word:
                if letter not in self._children[node]:
                    self._children[node][letter] = self._add_node(language)
                node = self._children[node][letter]
            self._ends_word[node] = True
        return root

    def _add_node(self, language: int) -> int:
        self._children.append({})
        self._language.append(language)
        self._ends_word.append(False)
        return len(self._children) - 1

    def _closed(self, nodes: set[int]) -> set[int]:
        """With the root of the next language wherever a word may end here."""
        waiting, closed = list(nodes), set(nodes)
        while waiting:
            node = waiting.pop()
            following = self._language[node] + 1
            if self._ends_word[node] and following < len(self._roots) and self._roots[following] not in closed:
                closed.add(self._roots[following])
                waiting.append(self._roots[following])
        return closed

    def _state(self, nodes: frozenset[int]) -> int:
        """The number of the deterministic state for these nodes, its successors and count worked out."""
        if nodes in self._states:
            return self._states[nodes]
        targets: dict[Letter, set[int]] = {}
        for node in sorted(nodes):
            for letter, child in self._children[node].items():
                targets.setdefault(letter, set()).add(child)
        moves = [(letter, self._state(frozenset(self._closed(t)))) for letter, t in targets.items()]
        last = len(self._roots) - 1
        accepts = any(self._ends_word[n] and self._language[n] == last for n in nodes)
        number = self._states[nodes] = len(self._moves)
        self._accepts.append(accepts)
        self._moves.append(moves)
        self._counts.append(int(accepts) + sum(self._counts[following] for _, following in moves))
        return number
