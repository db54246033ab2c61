"""Metrics for OpenTelemetry: the semantic conventions for containers, and cgroup.* besides.

Needs opentelemetry-api: ``pip install "cgroupkit[opentelemetry]"``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from weakref import WeakKeyDictionary

from cgroupkit import threads
from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.errors import InvalidValueError
from cgroupkit.exporting import Sweep, Sweeper
from cgroupkit.exporting.instruments import FIELDS, INSTRUMENTS, Instrument
from cgroupkit.units import invalid

try:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter
except ImportError as error:
    raise ImportError(
        'cgroupkit.opentelemetry needs opentelemetry-api: pip install "cgroupkit[opentelemetry]"'
    ) from error

_FRESH = 5.0
"""Seconds; a collection that takes longer has a second sweep."""


class CgroupInstruments(Closing):
    """Observes *cgroups*, or all cgroups below *tree*, or by default the running containers.

    The instruments are those of *meter*, by default the one called ``cgroupkit`` of *meter_provider*
    or of the global one. They are observable: cgroups are read when metrics are collected, once for
    all instruments. Attributes are ``cgroup.path`` and, of a container, ``container.id`` and
    ``container.name``. A collection reads no more cgroups after *timeout* seconds;
    ``cgroupkit.sweep.left_out`` says how many are missing. After :meth:`close` nothing is observed
    and no descriptor is kept.

    Raises :class:`InvalidValueError` if the meter has such instruments in use, and
    :class:`NotFoundError` where there is no *tree*.
    """

    def __init__(
        self,
        cgroups: Iterable[Cgroup] | None = None,
        *,
        tree: str | Cgroup | None = None,
        meter: Meter | None = None,
        meter_provider: MeterProvider | None = None,
        timeout: float = 5,
    ) -> None:
        """*timeout*: seconds after which no more cgroups are read."""
        if meter is not None and meter_provider is not None:
            raise InvalidValueError("give meter or meter_provider, not both")
        if meter is not None and not isinstance(meter, Meter):
            raise invalid("meter", meter, "give a Meter, as opentelemetry.metrics.get_meter() gives it")
        if meter_provider is not None and not isinstance(meter_provider, MeterProvider):
            what = "give a MeterProvider; a Meter is given as meter="
            raise invalid("meter_provider", meter_provider, what)
        self._lock = threads.Lock()
        self._sweep = Sweep()
        self._taken = float("-inf")
        self._told: set[str] = set()
        self._sweeper = Sweeper(cgroups, tree=tree, fields=FIELDS, timeout=timeout)
        try:
            self._post = _post_of(meter or _meter(meter_provider))
            self._post.take(self)
        except BaseException:
            self._sweeper.close()
            raise

    def close(self) -> None:
        """Observe nothing any more, and close all descriptors."""
        self._post.leave(self)
        self._sweeper.close()

    def observe(self, instrument: Instrument, timeout: float) -> list[Observation]:
        """What one instrument tells; *timeout* is what the collector has left, in seconds."""
        sweep = self._shared(instrument.name, timeout)
        return [Observation(value, whose) for whose, value in instrument.points(sweep)]

    def _shared(self, name: str, timeout: float) -> Sweep:
        """A collection asks each instrument once: who asks again begins another one."""
        if not self._lock.acquire(timeout=max(timeout, 0)):
            return Sweep(failed=True)
        try:
            if name in self._told or time.monotonic() - self._taken > _FRESH:
                self._told.clear()
            if not self._told:
                self._sweep = self._sweeper.sweep(timeout)
                self._taken = time.monotonic()
            self._told.add(name)
            return self._sweep
        finally:
            self._lock.release()


class _Post:
    """A meter's instruments, which nothing can remove, and who answers for them at the moment."""

    def __init__(self, meter: Meter) -> None:
        self._who: CgroupInstruments | None = None
        self._lock = threads.Lock()
        create = {
            "counter": meter.create_observable_counter,
            "updowncounter": meter.create_observable_up_down_counter,
            "gauge": meter.create_observable_gauge,
        }
        for each in INSTRUMENTS:
            create[each.kind](each.name, [self._callback(each)], each.unit, each.description)

    def _callback(self, each: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def call(options: CallbackOptions) -> Iterable[Observation]:
            who = self._who
            return [] if who is None else who.observe(each, options.timeout_millis / 1000)

        return call

    def take(self, who: CgroupInstruments) -> None:
        with self._lock:
            if self._who is not None:
                raise InvalidValueError(
                    "meter= has CgroupInstruments already: use those, close() them first, or give "
                    'another meter, such as get_meter("mine")'
                )
            self._who = who

    def leave(self, who: CgroupInstruments) -> None:
        with self._lock:
            if self._who is who:
                self._who = None


_posts: WeakKeyDictionary[Meter, _Post] = WeakKeyDictionary()
_lock = threads.Lock()


def _post_of(meter: Meter) -> _Post:
    """A meter makes an instrument of one name once; a second one's callbacks are dropped."""
    with _lock:
        if meter not in _posts:
            _posts[meter] = _Post(meter)
        return _posts[meter]


def _meter(provider: MeterProvider | None) -> Meter:
    """Ours of *provider*. Of the global one it is the same before and after a program has set it."""
    return _global_meter() if provider is None else provider.get_meter("cgroupkit", _version())


@cache
def _global_meter() -> Meter:
    return get_meter("cgroupkit", _version())


def _version() -> str:
    try:
        return metadata.version("cgroupkit")
    except metadata.PackageNotFoundError:
        return ""
