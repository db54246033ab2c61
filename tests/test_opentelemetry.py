"""CgroupInstruments: OpenTelemetry's names, units and attributes, read once a collection by its SDK."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from cgroupkit import Cgroup, Sampler, Stats
from cgroupkit.errors import InvalidValueError, NotFoundError
from cgroupkit.exporting import Sweep, Sweeper
from cgroupkit.exporting.instruments import INSTRUMENTS
from tests.metrics import FREE, ID, NOTHING, V1, V2, row

sdk = pytest.importorskip("opentelemetry.sdk.metrics", reason="opentelemetry-sdk is not installed")

from opentelemetry.metrics import NoOpMeterProvider  # noqa: E402
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402

from cgroupkit.opentelemetry import CgroupInstruments  # noqa: E402

PATIENCE = 120
kernel = pytest.mark.kernel


@pytest.fixture(autouse=True)
def a_slow_collection_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgroupkit.opentelemetry._FRESH", PATIENCE)


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def metrics(reader: InMemoryMetricReader) -> dict[str, Any]:
    """One collection: each metric by name."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    found = (metric for scope in scopes for metric in scope.metrics)
    return {metric.name: metric for metric in found if metric.data.data_points}


def values(found: dict[str, Any]) -> dict[str, float]:
    """Of ``name{attribute}``; what says whose figures they are is left out."""
    result = {}
    for name, metric in found.items():
        for point in metric.data.data_points:
            whose = ("cgroup.path", "container.id", "container.name")
            more = [str(v) for k, v in sorted(point.attributes.items()) if k not in whose]
            result[name + ("{" + ",".join(more) + "}" if more else "")] = point.value
    return result


# Out of stats made by hand


@pytest.fixture
def told(
    reader: InMemoryMetricReader, provider: MeterProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """told(stats): the metrics of one container with those."""
    sweeps: list[Sweep] = []
    monkeypatch.setattr(Sweeper, "sweep", lambda self, timeout: sweeps[-1])

    def of(stats: Stats) -> dict[str, Any]:
        sweeps.append(Sweep(rows=(row(stats),), seconds=0.5, left_out=2, failed=True, descriptors=20))
        return metrics(reader)

    with CgroupInstruments([], meter_provider=provider):
        yield of


EXPECTED = {
    "container.cpu.time{user}": 2.5,
    "container.cpu.time{system}": 1,
    "container.cpu.usage{user}": 0.5,
    "container.cpu.usage{system}": 0.25,
    "container.memory.usage": 1000,
    "container.memory.available": 3100,
    "container.memory.rss": 400,
    "container.memory.working_set": 900,
    "container.paging.faults{major}": 9,
    "container.paging.faults{minor}": 81,
    "container.disk.io{read,sda}": 10,
    "container.disk.io{write,sda}": 20,
    "container.disk.io{read,8:16}": 30,
    "container.disk.io{write,8:16}": 0,
    "container.network.io{eth0,receive}": 1,
    "container.network.io{eth0,transmit}": 5,
    "cgroup.cpu.limit": 1.5,
    "cgroup.cpu.periods": 40,
    "cgroup.cpu.throttled.periods": 4,
    "cgroup.cpu.throttled.time": 0.25,
    "cgroup.memory.limit": 4000,
    "cgroup.memory.limit_hits{high}": 7,
    "cgroup.memory.limit_hits{max}": 8,
    "cgroup.memory.oom_kills": 1,
    "cgroup.memory.swap.usage": 50,
    "cgroup.pids.count": 5,
    "cgroup.pids.limit": 64,
    "cgroup.pids.limit_hits": 3,
    "cgroup.cpu.pressure{some}": 1,
    "cgroup.cpu.pressure{full}": 0.5,
    "cgroup.memory.pressure{some}": 2,
    "cgroup.memory.pressure{full}": 0.25,
    "cgroup.io.pressure{some}": 3,
    "cgroup.io.pressure{full}": 0.125,
    "cgroupkit.sweep.duration": 0.5,
    "cgroupkit.sweep.cgroups": 1,
    "cgroupkit.sweep.left_out": 2,
    "cgroupkit.sweep.failed": 1,
    "cgroupkit.descriptors": 20,
}


def test_all_that_is_known(told: Any) -> None:
    found = values(told(V2))
    assert 100 <= found.pop("container.uptime") < 100 + PATIENCE
    assert found == EXPECTED
    found = values(told(V1))
    del found["container.uptime"]
    assert found == {k: v for k, v in EXPECTED.items() if "pressure" not in k and "{high}" not in k}


def test_no_limit_has_no_point(told: Any) -> None:
    found = values(told(FREE))
    gone = EXPECTED.keys() - found.keys()
    assert gone == {
        "container.memory.available", "cgroup.cpu.limit", "cgroup.memory.limit", "cgroup.pids.limit",
    }  # fmt: skip


def test_what_is_not_known_has_no_point() -> None:
    nothing = attrs.evolve(
        row(NOTHING), disks={}, network={}, started=None, cores={}, minor_faults=None
    )
    sweep = Sweep(rows=(nothing,))
    points = {each.name for each in INSTRUMENTS if list(each.points(sweep))}
    assert points == {each.name for each in INSTRUMENTS if each.name.startswith("cgroupkit.")}


def test_the_whole_cpu_time_where_modes_are_not_known() -> None:
    cpu = attrs.evolve(V2.cpu, user_usec=None, system_usec=None)
    sweep = Sweep(rows=(row(attrs.evolve(V2, cpu=cpu)),))
    (instrument,) = (each for each in INSTRUMENTS if each.name == "container.cpu.time")
    ((whose, value),) = instrument.points(sweep)
    assert value == 3.5
    assert "cpu.mode" not in whose


def test_units_and_kinds(told: Any) -> None:
    """Those of the semantic conventions."""
    found = told(V2)
    assert found.keys() == {each.name for each in INSTRUMENTS}
    expected = {
        "container.cpu.time": ("s", "counter"), "container.cpu.usage": ("{cpu}", "gauge"),
        "container.memory.usage": ("By", "updowncounter"),
        "container.memory.available": ("By", "updowncounter"),
        "container.memory.rss": ("By", "updowncounter"),
        "container.memory.working_set": ("By", "updowncounter"),
        "container.paging.faults": ("{fault}", "counter"), "container.disk.io": ("By", "counter"),
        "container.network.io": ("By", "counter"), "container.uptime": ("s", "gauge"),
    }  # fmt: skip
    for name, metric in found.items():
        kind = {True: "counter", False: "updowncounter", None: "gauge"}[
            getattr(metric.data, "is_monotonic", None)
        ]
        if name.startswith("container."):
            assert (metric.unit, kind) == expected[name], name
        assert metric.unit
        assert metric.description


def test_attributes(told: Any) -> None:
    found = told(V2)
    whose = {"cgroup.path": "/docker/web", "container.id": ID, "container.name": "web"}

    def of(name: str) -> list[dict[str, Any]]:
        return [dict(point.attributes) for point in found[name].data.data_points]

    assert of("container.memory.rss") == [whose]
    assert of("container.cpu.time") == [{**whose, "cpu.mode": m} for m in ("user", "system")]
    assert {**whose, "system.device": "sda", "disk.io.direction": "read"} in of("container.disk.io")
    assert {**whose, "system.paging.fault.type": "major"} in of("container.paging.faults")
    network = {"network.interface.name": "eth0", "network.io.direction": "receive"}
    assert {**whose, **network} in of("container.network.io")
    assert of("cgroupkit.sweep.cgroups") == [{}]


# Out of real cgroups


@kernel
def test_the_values_are_those_of_stats(
    cgroup: Cgroup, sleeper: Any, reader: InMemoryMetricReader, provider: MeterProvider, needs: Any
) -> None:
    needs("memory")
    needs("pids")
    cgroup.update(memory="64M", pids_limit=50)
    sleeper(cgroup)
    with CgroupInstruments([cgroup], meter_provider=provider, timeout=PATIENCE):
        first = values(metrics(reader))
        assert first["cgroup.memory.limit"] == 64 << 20
        assert (first["cgroup.pids.count"], first["cgroup.pids.limit"]) == (1, 50)
        assert 0 <= first["container.memory.working_set"] <= first["container.memory.usage"]
        assert first["container.memory.available"] + first["container.memory.working_set"] == 64 << 20
        assert "container.cpu.usage{user}" not in first
        parts = (first[f"container.cpu.time{{{mode}}}"] for mode in ("user", "system"))
        whole = sum(round(seconds * 1e6) for seconds in parts)
        assert 0 <= whole <= (cgroup.stats().cpu.usage_usec or 0)
        second = metrics(reader)
        assert values(second)["container.cpu.usage{user}"] >= 0
        (point,) = second["container.memory.usage"].data.data_points
        assert dict(point.attributes) == {"cgroup.path": cgroup.name}


@kernel
def test_one_sweep_a_collection(
    cgroup: Cgroup, reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever collects, and whatever was left undone before."""
    second = InMemoryMetricReader()
    provider = MeterProvider([reader, second], shutdown_on_exit=False)
    sweeps: list[Any] = []
    sample = Sampler.sample

    def counted(sampler: Sampler, **options: Any) -> Any:
        sweeps.append(options)
        return sample(sampler, **options)

    monkeypatch.setattr(Sampler, "sample", counted)
    with CgroupInstruments([cgroup], meter_provider=provider, timeout=PATIENCE) as instruments:
        for number, each in enumerate((reader, second, second, reader), 1):
            assert metrics(each)
            assert len(sweeps) == number
        # A collection that was broken off after two instruments, and the next one.
        for instrument in INSTRUMENTS[:2]:
            instruments.observe(instrument, PATIENCE)
        assert len(sweeps) == 5
        metrics(reader)
        assert len(sweeps) == 6
    provider.shutdown()


@kernel
def test_no_value_is_older_than_its_collection(
    cgroup: Cgroup, reader: InMemoryMetricReader, provider: MeterProvider, needs: Any
) -> None:
    needs("pids")
    with CgroupInstruments([cgroup], meter_provider=provider, timeout=PATIENCE):
        for limit in (10, 20, 30):
            cgroup.pids.max = limit
            assert values(metrics(reader))["cgroup.pids.limit"] == limit


@kernel
def test_what_was_read_long_ago_is_read_again(
    cgroup: Cgroup, provider: MeterProvider, monkeypatch: pytest.MonkeyPatch, needs: Any
) -> None:
    """By a collector that asks for single instruments as it likes."""
    needs("pids")
    count, limit = (
        next(each for each in INSTRUMENTS if each.name == name)
        for name in ("cgroup.pids.count", "cgroup.pids.limit")
    )
    cgroup.pids.max = 10
    with CgroupInstruments([cgroup], meter_provider=provider, timeout=PATIENCE) as instruments:
        instruments.observe(count, PATIENCE)
        cgroup.pids.max = 20
        (shared,) = instruments.observe(limit, PATIENCE)
        assert shared.value == 10
        monkeypatch.setattr("cgroupkit.opentelemetry._FRESH", 0)
        instruments.observe(count, PATIENCE)
        (fresh,) = instruments.observe(limit, PATIENCE)
        assert fresh.value == 20


@kernel
def test_after_the_end_there_is_nothing(
    cgroup: Cgroup, reader: InMemoryMetricReader, provider: MeterProvider
) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):  # the meter keeps its instruments, which serve again
        with CgroupInstruments([cgroup], meter_provider=provider, timeout=PATIENCE) as instruments:
            assert values(metrics(reader))["cgroupkit.sweep.cgroups"] == 1
            assert len(os.listdir("/proc/self/fd")) > before
        assert metrics(reader) == {}
        assert len(os.listdir("/proc/self/fd")) == before
        instruments.close()


@kernel
def test_a_second_one(cgroup: Cgroup, reader: InMemoryMetricReader, provider: MeterProvider) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    first = CgroupInstruments([cgroup], meter=provider.get_meter("mine"), timeout=PATIENCE)
    with pytest.raises(InvalidValueError, match=r"already.* close\(\).* another meter"):
        CgroupInstruments([cgroup], meter=provider.get_meter("mine"), timeout=PATIENCE)
    with CgroupInstruments([cgroup], meter_provider=provider, timeout=PATIENCE):
        data = reader.get_metrics_data()
        assert data is not None
        (resource,) = data.resource_metrics
        assert {scope.scope.name for scope in resource.scope_metrics} == {"mine", "cgroupkit"}
    first.close()
    assert len(os.listdir("/proc/self/fd")) == before


@kernel
def test_cgroups_come_and_go(
    cgroup: Cgroup, reader: InMemoryMetricReader, provider: MeterProvider
) -> None:
    def seen() -> set[str]:
        found = metrics(reader).get("container.cpu.time")
        return {point.attributes["cgroup.path"] for point in found.data.data_points} if found else set()

    with CgroupInstruments(tree=cgroup.name, meter_provider=provider, timeout=PATIENCE):
        assert seen() == set()
        inner = Cgroup.create(f"{cgroup.name}/inner")
        seen()
        assert seen() == {inner.name}
        inner.remove()
        assert seen() == set()


@kernel
def test_a_collector_that_has_no_time_to_wait(
    cgroup: Cgroup, provider: MeterProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def slow(sampler: Sampler, **options: Any) -> Any:
        busy.set()
        go_on.wait(PATIENCE)
        return {}

    monkeypatch.setattr(Sampler, "sample", slow)
    with CgroupInstruments([cgroup], meter_provider=provider, timeout=PATIENCE) as instruments:
        first = threading.Thread(target=instruments.observe, args=(INSTRUMENTS[0], PATIENCE))
        first.start()
        assert busy.wait(PATIENCE)
        before = time.monotonic()
        assert instruments.observe(INSTRUMENTS[0], 0.05) == []
        assert time.monotonic() - before < PATIENCE
        go_on.set()
        first.join(PATIENCE)


@kernel
def test_a_fork_in_the_middle_of_a_collection(
    cgroup: Cgroup, provider: MeterProvider, in_child: Any
) -> None:
    found = CgroupInstruments([cgroup], meter=provider.get_meter("mine"), timeout=PATIENCE)
    with found._lock, found._sweeper._lock, found._post._lock:  # as threads that the child has not

        def work() -> int:
            told = sum(len(found.observe(each, PATIENCE)) for each in INSTRUMENTS)
            found.close()
            return told

        assert in_child(work) > 0
    found.close()


BEFORE_THE_SDK = """
import sys
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from cgroupkit import Cgroup
from cgroupkit.errors import InvalidValueError
from cgroupkit.opentelemetry import CgroupInstruments

reader = InMemoryMetricReader()
cgroup = Cgroup(sys.argv[1])
with CgroupInstruments([cgroup]):
    metrics.set_meter_provider(MeterProvider([reader]))
    assert reader.get_metrics_data()
    try:
        CgroupInstruments([cgroup])
    except InvalidValueError:
        print("refused")
assert reader.get_metrics_data() is None
with CgroupInstruments([cgroup]):
    print(bool(reader.get_metrics_data()))
"""


@kernel
def test_made_before_the_sdk_is_set_up(cgroup: Cgroup) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_THE_SDK, cgroup.name],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("refused\nTrue\n", "")


@kernel
def test_what_cannot_be_meant(cgroup: Cgroup, provider: MeterProvider) -> None:
    meter = provider.get_meter("mine")
    with pytest.raises(InvalidValueError, match="meter or meter_provider, not both"):
        CgroupInstruments([cgroup], meter=meter, meter_provider=provider)
    with pytest.raises(InvalidValueError, match="meter='mine' is not valid"):
        CgroupInstruments([cgroup], meter="mine")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"meter_provider=.* a Meter is given as meter="):
        CgroupInstruments([cgroup], meter_provider=meter)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="cgroups or tree, not both"):
        CgroupInstruments([cgroup], tree=cgroup, meter=meter)
    with pytest.raises(InvalidValueError, match="timeout="):
        CgroupInstruments([cgroup], meter=meter, timeout=-1)
    with pytest.raises(NotFoundError):
        CgroupInstruments(tree="/no/such/cgroup", meter=meter)
    with CgroupInstruments([cgroup], meter_provider=NoOpMeterProvider()):
        pass
    with CgroupInstruments([cgroup], meter=meter):
        pass


def test_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    monkeypatch.delitem(sys.modules, "cgroupkit.opentelemetry")
    with pytest.raises(ImportError, match=r'pip install "cgroupkit\[opentelemetry\]"'):
        importlib.import_module("cgroupkit.opentelemetry")
