"""Read what each run of pytest left, and print it side by side."""

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["passed", "failed", "skipped"]
# Of the phases of one test the worst counts.
ORDER: tuple[State, ...] = ("failed", "skipped", "passed")

NOTHING_SELECTED = 5  # pytest
TIMED_OUT = 124  # timeout(1)


@dataclass(frozen=True)
class Outcome:
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Row:
    name: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str | None = None
    """What went wrong besides tests that failed; counts as a failure of its own."""
    tail: list[str] = field(default_factory=list)
    """The last lines that it said, where they tell more of the problem."""

    def count(self, state: State) -> int:
        counted = sum(outcome.state == state for outcome in self.outcomes.values())
        return counted + (state == "failed" and self.problem is not None)


def read_row(name: str, results: Path, stem: str, selected: bool, absent: str = "no results") -> Row:
    """A run of pytest; `selected` if the caller chose tests, so that none at all is no mistake."""
    status_file, xml = results / f"{stem}.status", results / f"{stem}.xml"
    if not status_file.exists():
        return Row(name, problem=absent)
    status = int(status_file.read_text())
    if not xml.exists():
        return Row(name, problem=f"no results: pytest ended with status {status}")
    try:
        suites = ET.parse(xml).getroot()
    except ET.ParseError as error:
        return Row(name, problem=f"unreadable results: {error}")
    seconds = sum(float(suite.get("time", 0)) for suite in suites)
    outcomes: dict[str, Outcome] = {}
    for case in suites.iter("testcase"):
        if not case.get("name"):
            continue  # the test that was interrupted: nothing is known of it
        test = f"{case.get('classname')}::{case.get('name')}"
        outcome = _outcome(case)
        known = outcomes.get(test, outcome)
        outcomes[test] = min(known, outcome, key=lambda one: ORDER.index(one.state))
    row = Row(name, outcomes, seconds)
    if status in (0, 1) and (status == 1) == (row.count("failed") > 0):
        return row
    if status == NOTHING_SELECTED:
        problem = None if selected else "no tests ran"
    else:
        problem = "out of time" if status == TIMED_OUT else f"pytest ended with status {status}"
    return Row(name, outcomes, seconds, problem)


def _outcome(case: ET.Element) -> Outcome:
    for kind in ("failure", "error"):
        if (wrong := case.find(kind)) is not None:
            return Outcome("failed", (wrong.get("message") or kind).partition("\n")[0][:200])
    if (skipped := case.find("skipped")) is not None:
        reason = skipped.get("message") or "no reason given"
        expected = "expected to fail: " if skipped.get("type") == "pytest.xfail" else ""
        return Outcome("skipped", expected + reason.splitlines()[0])
    return Outcome("passed")


def show(rows: list[Row]) -> bool:
    """Print everything, what matters most last; whether nothing failed."""
    for row in rows:
        reasons = Counter(one.reason for one in row.outcomes.values() if one.state == "skipped")
        _list(f"skipped, {row.name}", [f"{n:4}  {why}" for why, n in reasons.most_common()])
    _list("HOLES, skipped on every kernel", holes(rows))
    for row in rows:
        failures = {test: one for test, one in row.outcomes.items() if one.state == "failed"}
        _list(f"last lines of {row.name}", row.tail)
        _list(f"failed, {row.name}", [f"{test}: {one.reason}" for test, one in failures.items()])
    width = max(len(row.name) for row in rows)
    print(f"\n{'':{width}}  passed  failed  skipped  seconds")
    for row in rows:
        counts = (row.count("passed"), row.count("failed"), row.count("skipped"))
        numbers = "  {:6}  {:6}  {:7}  {:7.1f}".format(*counts, row.seconds)
        print(f"{row.name:{width}}{numbers}" + (f"  {row.problem}" if row.problem else ""))
    totals = [sum(row.count(state) for row in rows) for state in ("passed", "failed", "skipped")]
    print("\n{} passed, {} failed, {} skipped".format(*totals), flush=True)
    return totals[1] == 0


def holes(rows: list[Row]) -> list[str]:
    """The tests that every run which had them skipped, with the reasons."""
    seen: dict[str, list[Outcome]] = {}
    for row in rows:
        for test, outcome in row.outcomes.items():
            seen.setdefault(test, []).append(outcome)
    return [
        f"{test}: {' / '.join(dict.fromkeys(one.reason for one in outcomes))}"
        for test, outcomes in seen.items()
        if all(one.state == "skipped" for one in outcomes)
    ]


def _list(title: str, lines: list[str]) -> None:
    if lines:
        print(f"\n{title}:", *lines, sep="\n  ")
