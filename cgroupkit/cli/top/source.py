"""Where the rows come from: samplers of the cgroups that were named, and of all below them."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress

import attrs

from cgroupkit.cgroup import Cgroup
from cgroupkit.cli import machine, target
from cgroupkit.cli.top.rows import FIELDS, Row, rows
from cgroupkit.closing import Closing
from cgroupkit.containers import Container
from cgroupkit.containers.walking import at
from cgroupkit.sampling import Rates, Sampler
from cgroupkit.stats import Stats

_SHARE = 0.9
"""Of the descriptors that we may have: the samplers are all that there is."""
_TRIES = 5
"""Readings in which a container's name is asked for: an engine may write it after it has begun."""


@attrs.frozen(kw_only=True)
class Reading:
    """One moment."""

    rows: list[Row]
    settled: bool
    """Whether there are rates: not in the first reading."""
    load: machine.Load
    clock: str
    """The time of day."""
    took: float
    """Seconds that reading took: as long, at least, nothing is to be read afterwards."""


class Source(Closing):
    """Reads the cgroups called *names*, and those up to *depth* levels below them (None: all)."""

    def __init__(self, names: Sequence[str], depth: int | None) -> None:
        self.names = list(dict.fromkeys(names))
        self._machine = machine.Machine()
        self._memory = machine.memory()
        self._labels = _Labels()
        self._settled = False
        with ExitStack() as stack:
            tops = dict.fromkeys(target.find(name) for name in self.names)
            share = _SHARE / len(tops)
            self._samplers = [stack.enter_context(_sampler(top, depth, share)) for top in tops]
            self._open = stack.pop_all()
        _more_descriptors()

    def read(self) -> Reading:
        """Read all of them now; those that are gone are left out."""
        began = time.monotonic()
        sample: dict[Cgroup, Stats] = {}
        rates: dict[Cgroup, Rates] = {}
        shown: set[str] = set()
        for sampler in self._samplers:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # few descriptors: slower, that is all
                found = sampler.sample()
            rates |= sampler.rates(found)
            for cgroup, stats in found.items():
                if cgroup not in sample and cgroup.name not in shown:
                    shown.add(cgroup.name)
                    sample[cgroup] = stats
        reading = Reading(
            rows=rows(sample, rates, self._labels.of(sample), self._memory),
            settled=self._settled,
            load=self._machine.load(),
            clock=time.strftime("%H:%M:%S"),
            took=time.monotonic() - began,
        )
        self._settled = True
        return reading

    def close(self) -> None:
        self._open.close()


def _sampler(top: Cgroup, depth: int | None, share: float) -> Sampler:
    if depth == 0:
        return Sampler([top], FIELDS, share=share)
    sampler = Sampler.tree(top, FIELDS, depth=depth, share=share)
    sampler.add(top)
    return sampler


def _more_descriptors() -> None:
    """As many as we may: each file of each cgroup stays open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Labels:
    """Which cgroups are containers: each is looked at once, when it has come."""

    def __init__(self) -> None:
        self._known: dict[Cgroup, Container | None] = {}
        self._tries: dict[Cgroup, int] = {}

    def of(self, cgroups: Iterable[Cgroup]) -> dict[Cgroup, Container]:
        known, self._known = self._known, {}
        tries, self._tries = self._tries, {}
        for cgroup in cgroups:
            container = known[cgroup] if cgroup in known else at(cgroup)
            left = tries.get(cgroup, 0 if cgroup in known else _TRIES)
            if left and container is not None and container.name is None:
                self._tries[cgroup] = left - 1
                container = at(cgroup)
            self._known[cgroup] = container
        return {cgroup: found for cgroup, found in self._known.items() if found is not None}
