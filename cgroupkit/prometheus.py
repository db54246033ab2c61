"""Metrics for Prometheus, under the names, types and labels of cAdvisor.

Needs prometheus_client: ``pip install "cgroupkit[prometheus]"``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from cgroupkit.cgroup import Cgroup
from cgroupkit.closing import Closing
from cgroupkit.errors import InvalidValueError
from cgroupkit.exporting import Row, Sweep, Sweeper
from cgroupkit.exporting.families import FAMILIES, FIELDS

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        'cgroupkit.prometheus needs prometheus_client: pip install "cgroupkit[prometheus]"'
    ) from error


class CgroupCollector(Closing, Collector):
    """Exports *cgroups*, or all cgroups below *tree*, or by default the running containers.

    Registers itself with *registry* (None: it does not). Labels are ``id`` (the cgroup's path),
    ``name`` and ``image`` (of a container, if its engine's state can be read). A scrape that takes
    longer than *timeout* seconds, those included in which it waits for another, ends with what it
    has: ``container_scrape_error`` is 1 then, and ``cgroupkit_scrape_left_out`` says how many cgroups
    are missing. :meth:`close` gives the descriptors back.

    Raises :class:`InvalidValueError` if the registry has such metrics already, and
    :class:`NotFoundError` where there is no *tree*.
    """

    def __init__(
        self,
        cgroups: Iterable[Cgroup] | None = None,
        *,
        tree: str | Cgroup | None = None,
        registry: CollectorRegistry | None = REGISTRY,
        timeout: float = 5,
    ) -> None:
        """*timeout*: seconds after which no more cgroups are read."""
        self._sweeper = Sweeper(cgroups, tree=tree, fields=FIELDS, timeout=timeout, count=True)
        self._lock = threading.Lock()
        self._registry = registry
        try:
            if registry is not None:
                registry.register(self)
        except ValueError as error:
            self._sweeper.close()
            names: Iterable[str] = getattr(error, "duplicates", ())
            raise InvalidValueError(
                f"registry= has {min(names, default='such a metric')} already, of another "
                "CgroupCollector perhaps: use that one, close() it first, or give another registry="
            ) from None

    def describe(self) -> Iterator[Metric]:
        """The names alone: registering reads nothing."""
        for family in FAMILIES:
            yield Metric(family.name, family.help, family.kind)
        yield from _about(Sweep())

    def collect(self) -> Iterator[Metric]:
        """Read all cgroups now."""
        sweep = self._sweeper.sweep()
        metrics = [Metric(family.name, family.help, family.kind) for family in FAMILIES]
        for row in sweep.rows:
            _add(metrics, row)
        yield from metrics
        yield from _about(sweep)

    def close(self) -> None:
        """Leave the registry and close all descriptors."""
        with self._lock:
            registry, self._registry = self._registry, None
        if registry is not None:
            with suppress(KeyError):  # somebody took it out
                registry.unregister(self)
        self._sweeper.close()


def _add(metrics: Iterable[Metric], row: Row) -> None:
    labels: Mapping[str, str] = {"id": row.path, "name": row.name or "", "image": row.image or ""}
    for family, metric in zip(FAMILIES, metrics, strict=True):
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        for more, value in family.values(row):
            if value is not None:
                metric.add_sample(name, {**labels, **more}, value)


def _about(sweep: Sweep) -> Iterator[Metric]:
    for name, help, value in (
        ("container_scrape_error", "1 if time ran out or something could not be read.", sweep.failed),
        ("cgroupkit_scrape_duration_seconds", "How long the cgroups were read.", sweep.seconds),
        ("cgroupkit_scrape_left_out", "Cgroups that ended, or with no time left.", sweep.left_out),
        ("cgroupkit_cgroups", "Cgroups in this scrape.", len(sweep.rows)),
        ("cgroupkit_descriptors", "Files that are kept open.", sweep.descriptors),
    ):
        metric = Metric(name, help, "gauge")
        metric.add_sample(name, {}, float(value))
        yield metric
