"""Equal input is worked on once, and what differs in a single element is not equal."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.sharing import ByContent


class Doubler:
    """Doubles, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[float]] = []
        self.share = ByContent[np.ndarray](self._work)

    def _work(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self.asked += [array.tolist() for array in arrays]
        return [2 * array for array in arrays]


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=6))
def test_results_are_those_of_the_work_and_equal_arrays_are_given_once(calls: list[list[int]]) -> None:
    doubler = Doubler()
    for values in calls:
        asked = len(doubler.asked)
        found = doubler.share([np.array([value, 1.0]) for value in values])
        assert [row[0] for row in found] == [2 * value for value in values]
        fresh = [array[0] for array in doubler.asked[asked:]]
        assert len(fresh) == len(set(fresh)) and set(fresh) <= set(values)


def test_what_was_given_in_the_call_before_is_known_and_no_longer() -> None:
    doubler = Doubler()
    for value in (1.0, 1.0, 2.0, 1.0):
        doubler.share([np.array([value])])
    doubler.share([])  # nothing asked, nothing forgotten
    doubler.share([np.array([1.0])])
    assert doubler.asked == [[1.0], [2.0], [1.0]]
    doubler.share.forget()
    doubler.share([np.array([1.0])])
    assert len(doubler.asked) == 4


def test_shape_type_and_every_element_count() -> None:
    doubler = Doubler()
    picture = np.zeros((2, 3), np.uint8)
    other = picture.copy()
    other[1, 2] = 1
    doubler.share([picture, picture.T, picture.reshape(6), picture.astype(np.int8), other, picture.copy()])
    assert len(doubler.asked) == 5


def test_views_with_gaps_are_compared_by_what_they_show() -> None:
    doubler = Doubler()
    whole = np.arange(12.0)
    doubler.share([whole[::2], np.arange(0.0, 12.0, 2.0)])
    assert doubler.asked == [[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]]
