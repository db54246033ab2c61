"""Deadlines on a clock of their own."""

from __future__ import annotations

import time

import pytest

from cgroupkit.waiting import turns


class Clock:
    """time.monotonic() and time.sleep(), without the waiting."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


def test_turns_go_on_until_the_deadline(clock: Clock) -> None:
    lasts = list(turns(clock.now + 2))
    assert lasts == [False] * (len(lasts) - 1) + [True]
    assert clock.now == pytest.approx(102.1, abs=0.02)
    assert clock.slept[0] < 0.001
    assert max(clock.slept) == 0.05


def test_one_can_stop(clock: Clock) -> None:
    for number, _ in enumerate(turns(clock.now + 2)):
        if number == 3:
            break
    assert len(clock.slept) == 3


@pytest.mark.parametrize("before", [0, 1, 30])
def test_who_was_stopped_over_the_deadline_has_ten_more_turns(clock: Clock, before: int) -> None:
    again = turns(clock.now + 2)
    for _ in range(before):
        assert next(again) is False
    clock.now += 1000
    clock.slept.clear()
    assert list(again) == [False] * 9 + [True]
    assert 0.1 < sum(clock.slept) < 0.2
