"""The search itself: every row of answers up to a length, skips anywhere, an end at any moment."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from orchestrator.bisection.search import Flip, Mark, Search, State

G, B, S = Mark.GOOD, Mark.BAD, Mark.SKIP
LETTERS = {"g": G, "b": B, "s": S}


def row(text: str) -> tuple[Mark, ...]:
    return tuple(LETTERS[letter] for letter in text)


def searched(answers: Sequence[Mark], every: bool = False) -> tuple[Search, list[int]]:
    """The finished search, and what was tried, in order."""
    search, tried = Search(len(answers), every=every), []
    while (index := search.next) is not None:
        assert index not in tried, "nothing is tried twice"
        before = search.steps
        tried.append(index)
        search = search.told(index, answers[index])
        if S not in search.marks.values():
            assert search.steps < before, "a promise of steps is kept"
    return search, tried


@pytest.mark.parametrize("count", range(2, 40))
def test_each_boundary_is_found_in_as_few_steps_as_there_can_be(count: int) -> None:
    for boundary in range(1, count):
        search, tried = searched([G] * boundary + [B] * (count - boundary))
        assert search.state is State.FOUND
        assert search.flips == (Flip(boundary - 1, boundary),)
        assert tried[:2] == [0, count - 1], "the ends come first"
        assert len(tried) - 2 <= (count - 2).bit_length()


@pytest.mark.parametrize("count", range(2, 8))
def test_skips_anywhere_between_leave_the_least_range_that_is_known(count: int) -> None:
    for inner in itertools.product((G, B, S), repeat=count - 2):
        judged = [mark for mark in inner if mark is not S]
        if judged != sorted(judged, key=(G, B).index):
            continue  # changes more than once: below
        answers = (G, *inner, B)
        search, _ = searched(answers)
        low = max(index for index, mark in enumerate(answers) if mark is G)
        high = min(index for index, mark in enumerate(answers) if mark is B)
        assert search.state is State.FOUND
        assert search.flips == (Flip(low, high, tuple(range(low + 1, high))),), answers
        assert all(search.marks[index] is S for index in search.flips[0].between)


def test_what_is_nearest_to_the_middle_is_tried_after_a_skip() -> None:
    _, tried = searched(row("ggsssbb"))
    assert tried == [0, 6, 3, 2, 4, 1, 5]


@pytest.mark.parametrize(
    ("ends", "state"),
    [("gg", State.GOOD), ("bb", State.BAD), ("bg", State.REVERSED), ("sb", State.UNJUDGED), ("gs", State.UNJUDGED),
     ("ss", State.UNJUDGED), ("bs", State.UNJUDGED)],
)  # fmt: skip
def test_ends_that_are_not_as_they_should_be_are_all_that_is_tried(ends: str, state: State) -> None:
    search, tried = searched(row(f"{ends[0]}gbgb{ends[1]}"))
    assert search.state is state
    assert tried == [0, 5]


def test_a_row_that_changes_more_than_once_is_shown_by_every_only() -> None:
    answers = row("gbgsb")
    some, _ = searched(answers)
    assert len(some.flips) == 1, "a search that halves sees one change, and can't know of others"
    every, tried = searched(answers, every=True)
    assert tried == [0, 4, 1, 2, 3]
    assert every.state is State.FOUND
    assert every.flips == (Flip(0, 1), Flip(1, 2), Flip(2, 4, (3,)))


@pytest.mark.parametrize(
    ("answers", "state"),
    [("gbg", State.FOUND), ("ggg", State.GOOD), ("bbb", State.BAD), ("gsg", State.GOOD), ("sgg", State.UNJUDGED),
     ("sgb", State.FOUND), ("bgg", State.FOUND), ("sss", State.UNJUDGED)],
)  # fmt: skip
def test_every_looks_between_ends_that_are_alike(answers: str, state: State) -> None:
    search, tried = searched(row(answers), every=True)
    assert search.state is state
    assert len(tried) == len(answers)


@pytest.mark.parametrize("every", [False, True])
def test_at_any_moment_what_is_known_is_right(every: bool) -> None:
    """Ctrl-C may come after any trial."""
    answers = row("ggsgbbbb")
    search = Search(len(answers), every=every)
    while (index := search.next) is not None:
        assert search.state is State.OPEN
        search = search.told(index, answers[index])
        for flip in search.flips:
            assert (answers[flip.before], answers[flip.after]) == (G, B)
            assert flip.before < 4 <= flip.after
    assert search.flips == (Flip(3, 4),)


def test_two_candidates_are_two_ends() -> None:
    search, tried = searched(row("gb"))
    assert tried == [0, 1] and search.flips == (Flip(0, 1),)
    assert Search(2).steps == 2


def test_a_search_of_one_is_none() -> None:
    with pytest.raises(ValueError, match="two ends"):
        Search(1)
    with pytest.raises(IndexError):
        Search(3).told(3, G)
