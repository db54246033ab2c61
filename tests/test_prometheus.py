"""CgroupCollector: cAdvisor's names, types and labels, the values of stats(), and a real Prometheus."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgroupkit import Cgroup, Stats
from cgroupkit.cli import main, serving
from cgroupkit.cli.metrics import address, plain
from cgroupkit.cli.serving import Server
from cgroupkit.errors import InvalidValueError
from cgroupkit.exporting import Sweep, Sweeper
from cgroupkit.exporting.families import FAMILIES
from cgroupkit.sampling.fields import chosen
from tests.metrics import FREE, NOTHING, V1, V2, row

prometheus_client = pytest.importorskip(
    "prometheus_client", reason="prometheus_client is not installed"
)

from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from cgroupkit.prometheus import FIELDS, CgroupCollector  # noqa: E402

PATIENCE = 120
kernel = pytest.mark.kernel


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def scraped(registry: CollectorRegistry) -> dict[str, Any]:
    text = generate_latest(registry).decode()
    return {f.name: f for f in text_string_to_metric_families(text)}


# Out of stats made by hand


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stats], str]:
    """text(stats): what Prometheus would get of one container with those."""

    def of(stats: Stats) -> str:
        sweep = Sweep(rows=(row(stats),), seconds=0.5, left_out=2, failed=True, descriptors=20)
        monkeypatch.setattr(Sweeper, "sweep", lambda self: sweep)
        registry = CollectorRegistry()
        with CgroupCollector([], registry=registry):
            return generate_latest(registry).decode()

    return of


Text = Callable[[Stats], str]


def values(text: str) -> dict[str, float]:
    """Of ``name{label}``; the three labels that all have are left out."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            more = [v for k, v in sorted(sample.labels.items()) if k not in ("id", "name", "image")]
            found[sample.name + ("{" + ",".join(more) + "}" if more else "")] = sample.value
    return found


EXPECTED = {
    "container_cpu_usage_seconds_total{total}": 3.5,
    "container_cpu_user_seconds_total": 2.5,
    "container_cpu_system_seconds_total": 1,
    "container_cpu_cfs_periods_total": 40,
    "container_cpu_cfs_throttled_periods_total": 4,
    "container_cpu_cfs_throttled_seconds_total": 0.25,
    "container_cpu_cfs_burst_periods_total": 2,
    "container_cpu_cfs_burst_seconds_total": 0.125,
    "container_spec_cpu_period": 100_000,
    "container_spec_cpu_quota": 150_000,
    "container_spec_cpu_shares": 521,
    "container_memory_usage_bytes": 1000,
    "container_memory_max_usage_bytes": 2000,
    "container_memory_working_set_bytes": 900,
    "container_memory_rss": 400,
    "container_memory_cache": 500,
    "container_memory_swap": 50,
    "container_memory_mapped_file": 70,
    "container_memory_kernel_usage": 60,
    "container_memory_total_active_file_bytes": 13,
    "container_memory_total_inactive_file_bytes": 100,
    "container_memory_file_dirty_bytes": 11,
    "container_memory_file_writeback_bytes": 12,
    "container_memory_failcnt": 8,
    "container_memory_events_max_total": 8,
    "container_memory_events_high_total": 7,
    "container_memory_failures_total{pgfault,hierarchy}": 90,
    "container_memory_failures_total{pgfault,container}": 90,
    "container_memory_failures_total{pgmajfault,hierarchy}": 9,
    "container_memory_failures_total{pgmajfault,container}": 9,
    "container_memory_pgscan_total": 14,
    "container_memory_pgsteal_total": 15,
    "container_memory_workingset_refault_file_total": 16,
    "container_memory_workingset_refault_anon_total": 17,
    "container_oom_events_total": 1,
    "container_spec_memory_limit_bytes": 4000,
    "container_spec_memory_swap_limit_bytes": 600,
    "container_spec_memory_reservation_limit_bytes": 300,
    "container_fs_reads_bytes_total{/dev/sda}": 10,
    "container_fs_reads_bytes_total{8:16}": 30,
    "container_fs_writes_bytes_total{/dev/sda}": 20,
    "container_fs_writes_bytes_total{8:16}": 0,
    "container_fs_reads_total{/dev/sda}": 1,
    "container_fs_reads_total{8:16}": 0,
    "container_fs_writes_total{/dev/sda}": 2,
    "container_fs_writes_total{8:16}": 0,
    "container_network_receive_bytes_total{eth0}": 1,
    "container_network_receive_packets_total{eth0}": 2,
    "container_network_receive_errors_total{eth0}": 3,
    "container_network_receive_packets_dropped_total{eth0}": 4,
    "container_network_transmit_bytes_total{eth0}": 5,
    "container_network_transmit_packets_total{eth0}": 6,
    "container_network_transmit_errors_total{eth0}": 7,
    "container_network_transmit_packets_dropped_total{eth0}": 8,
    "container_processes": 3,
    "container_threads": 5,
    "container_threads_max": 64,
    "container_pressure_cpu_waiting_seconds_total": 1,
    "container_pressure_cpu_stalled_seconds_total": 0.5,
    "container_pressure_memory_waiting_seconds_total": 2,
    "container_pressure_memory_stalled_seconds_total": 0.25,
    "container_pressure_io_waiting_seconds_total": 3,
    "container_pressure_io_stalled_seconds_total": 0.125,
    "container_scrape_error": 1,
    "cgroupkit_scrape_duration_seconds": 0.5,
    "cgroupkit_scrape_left_out": 2,
    "cgroupkit_cgroups": 1,
    "cgroupkit_descriptors": 20,
}


def test_all_that_is_known_on_v2(text: Text) -> None:
    found = values(text(V2))
    now = time.time()
    assert now - PATIENCE < found.pop("container_last_seen") <= now
    assert now - 100 - PATIENCE < found.pop("container_start_time_seconds") <= now - 100
    assert found == EXPECTED


def test_all_that_is_known_on_v1(text: Text) -> None:
    found = values(text(V1))
    for when in ("last_seen", "start_time_seconds"):
        del found[f"container_{when}"]
    assert found == {
        **{
            name: value
            for name, value in EXPECTED.items()
            if "pressure" not in name and "high" not in name
        },
        "container_spec_cpu_shares": 512,
        "container_memory_kernel_usage": 61,
        "container_memory_failures_total{pgfault,container}": 80,
        "container_memory_failures_total{pgmajfault,container}": 8,
        "container_spec_memory_swap_limit_bytes": 5000,
        "container_spec_memory_reservation_limit_bytes": 3000,
    }


def test_no_limit_is_zero(text: Text) -> None:
    found = values(text(FREE))
    for name in ("memory_limit_bytes", "memory_swap_limit_bytes", "memory_reservation_limit_bytes"):
        assert found[f"container_spec_{name}"] == 0
    assert found["container_threads_max"] == 0
    assert found["container_spec_cpu_period"] == 100_000
    assert not [name for name in found if "cfs" in name or "quota" in name]


def test_what_is_not_known_has_no_sample(text: Text) -> None:
    alone = attrs.evolve(row(NOTHING), disks={}, network={}, started=None, processes=None)
    known = [f.name for f in FAMILIES for _, value in f.values(alone) if value is not None]
    assert known == ["container_last_seen"]
    assert values(text(NOTHING))["container_processes"] == 3


def test_an_idle_cgroup_has_no_shares(text: Text) -> None:
    assert "container_spec_cpu_shares" not in values(text(attrs.evolve(V2, cpu_weight=0)))


def test_the_types_are_cadvisors(text: Text) -> None:
    """But for failcnt, a counter whose name prometheus_client would end in _total."""
    for line in text(V2).splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            expected = "counter" if name.endswith("_total") else "gauge"
            assert kind == ("untyped" if name == "container_memory_failcnt" else expected), name


def test_the_labels(text: Text) -> None:
    wanted = 'container_memory_rss{id="/docker/web",image="nginx:1",name="web"} 400.0'
    assert wanted in text(V2).splitlines()


def test_promtool_accepts_it(text: Text) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here (Debian: prometheus)")
    for stats in (V2, V1, NOTHING):
        done = subprocess.run(
            [promtool, "check", "metrics"],
            input=text(stats), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Out of real cgroups


@kernel
def test_the_values_are_those_of_stats(
    cgroup: Cgroup, sleeper: Any, registry: CollectorRegistry, needs: Any
) -> None:
    needs("memory")
    needs("pids")
    needs("cpu")
    cgroup.update(memory="64M", memory_reservation="32M", pids_limit=50, cpus=1.5, cpu_shares=2048)
    sleeper(cgroup)
    with CgroupCollector([cgroup], registry=registry, timeout=PATIENCE):
        found = scraped(registry)
        labels = {"id": cgroup.name, "name": "", "image": ""}

        def value(name: str, **more: str) -> float:
            (sample,) = [s for s in found[name].samples if s.labels == labels | more]
            return float(sample.value)

        assert value("container_spec_memory_limit_bytes") == 64 << 20
        assert value("container_spec_memory_reservation_limit_bytes") == 32 << 20
        assert value("container_spec_cpu_shares") in (2048, 2059)
        assert value("container_spec_cpu_quota") == 150_000
        assert value("container_threads") == value("container_processes") == 1
        assert value("container_threads_max") == 50
        assert value("container_memory_failcnt") == 0
        assert value("container_cpu_usage_seconds", cpu="total") <= cgroup.cpu.stat.usage_usec / 1e6
        usage = value("container_memory_usage_bytes")
        assert 0 <= value("container_memory_working_set_bytes") <= usage <= 64 << 20
        assert found["cgroupkit_cgroups"].samples[0].value == 1
        assert found["cgroupkit_descriptors"].samples[0].value > 0
        assert found["container_scrape_error"].samples[0].value == 0
    assert scraped(registry) == {}


@kernel
def test_nothing_is_missing_that_could_be_read(cgroup: Cgroup, sleeper: Any) -> None:
    """The same is exported whether all of Stats was read or what the exporter asks for."""
    sleeper(cgroup)

    def exported(fields: Any) -> set[str]:
        with Sweeper([cgroup], tree=None, fields=fields, timeout=PATIENCE) as sweeper:
            (one,) = sweeper.sweep().rows
        return {f.name for f in FAMILIES for _, value in f.values(one) if value is not None}

    assert exported(FIELDS) == exported(None) > exported(["pids"])
    assert set(chosen(FIELDS)) < set(chosen(None))


@kernel
def test_a_tree_is_followed(cgroup: Cgroup, registry: CollectorRegistry) -> None:
    with CgroupCollector(tree=cgroup.name, registry=registry, timeout=PATIENCE):
        assert scraped(registry)["cgroupkit_cgroups"].samples[0].value == 0
        inner = Cgroup.create(f"{cgroup.name}/inner")
        scraped(registry)
        found = scraped(registry)["container_cpu_usage_seconds"]
        assert {s.labels["id"] for s in found.samples} == {inner.name}


@kernel
def test_a_name_of_any_bytes(cgroup: Cgroup, registry: CollectorRegistry, needs: Any) -> None:
    """One cgroup of somebody's must not spoil the scrape of all."""
    needs("pids")
    os.mkdir(os.fsencode(cgroup.path("pids")) + b'/\xff"\\')
    with CgroupCollector(tree=cgroup, registry=registry, timeout=PATIENCE):
        scraped(registry)
        (sample,) = scraped(registry)["container_last_seen"].samples
        assert sample.labels["id"] == f'{cgroup.name}/\\xff"\\'


@kernel
def test_two_collectors(cgroup: Cgroup, registry: CollectorRegistry) -> None:
    refused = pytest.raises(InvalidValueError, match=r"already.* close\(\) it first.* registry=")
    with CgroupCollector([cgroup], registry=registry, timeout=PATIENCE), refused as caught:
        CgroupCollector([cgroup], registry=registry, timeout=PATIENCE)
    assert len(str(caught.value)) < 200
    with CgroupCollector([cgroup], registry=registry, timeout=PATIENCE):
        assert scraped(registry)["cgroupkit_cgroups"].samples[0].value == 1
        for other in (CollectorRegistry(), None):
            CgroupCollector([cgroup], registry=other).close()
    collector = CgroupCollector([cgroup], registry=registry, timeout=PATIENCE)
    registry.unregister(collector)
    collector.close()
    collector.close()
    assert next(metric.samples for metric in collector.collect()) == []


@kernel
def test_a_scrape_has_an_end(cgroup: Cgroup, registry: CollectorRegistry) -> None:
    with CgroupCollector([cgroup], registry=registry, timeout=0):
        found = scraped(registry)
        assert found["cgroupkit_scrape_left_out"].samples[0].value == 1
        assert found["container_scrape_error"].samples[0].value == 1
        assert found["container_cpu_usage_seconds"].samples == []


def test_names_are_told_once_and_not_both_ways() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    with pytest.raises(InvalidValueError, match="not both"):
        CgroupCollector([], tree="/docker", registry=None)
    with pytest.raises(InvalidValueError, match="timeout="):
        CgroupCollector([], registry=None, timeout=-1)


# The command


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "cgroupkit", "metrics", f"--timeout={PATIENCE}", *words]


@kernel
def test_the_command_prints_once(cgroup: Cgroup) -> None:
    done = subprocess.run(
        command("--once", cgroup.name), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert f'container_cpu_usage_seconds_total{{cpu="total",id="{cgroup.name}"' in done.stdout
    assert done.stderr == ""


@kernel
def test_the_command_knows_containers(
    cgroup: Cgroup, capsys: pytest.CaptureFixture[str], needs: Any
) -> None:
    needs("memory")
    made = Cgroup.create(f"{cgroup.name}/lxc/{cgroup.name.rpartition('/')[2]}-lxc")
    name = made.name.rpartition("/")[2]
    label = f'container_memory_usage_bytes{{id="{made.name}",image="",name="{name}"}}'
    for words in ([], [name], ["--tree", cgroup.name]):
        assert main(["metrics", "--once", f"--timeout={PATIENCE}", *words]) == 0
        assert label in capsys.readouterr().out


@kernel
def test_the_command_serves_and_ends(cgroup: Cgroup) -> None:
    with subprocess.Popen(
        command("--listen", "127.0.0.1:0", cgroup.name), stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().split()[-1]
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                assert cgroup.name in answer.read().decode()
            port = url.rpartition(":")[2].partition("/")[0]
            second = subprocess.run(
                command("--listen", f"127.0.0.1:{port}", cgroup.name),
                capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
            assert second.returncode == 1
            assert f"cannot listen on 127.0.0.1:{port}: EADDRINUSE" in second.stderr
            assert second.stderr.count("\n") == 1
            server.terminate()
            assert server.wait(PATIENCE) == 0
            assert server.stderr.read() == ""
        finally:
            server.kill()


@kernel
@pytest.mark.parametrize("chosen", [[], ["--tree", "/"]])
def test_no_container_runs(
    chosen: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgroupkit.cli.metrics.containers", lambda: iter(()))
    monkeypatch.setattr("cgroupkit.exporting.subjects.walk", lambda *_, **__: [])
    assert main(["metrics", "--once", *chosen]) == 0
    told = "no container is running now; name cgroups, or give --tree /" in capsys.readouterr().err
    assert told == (not chosen)


@kernel
def test_without_containers_there_is_what_it_says_about_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgroupkit.exporting.subjects.walk", lambda *_, **__: [])
    assert main(["metrics", "--once"]) == 0
    found = values(capsys.readouterr().out)
    assert found.pop("cgroupkit_scrape_duration_seconds") >= 0
    assert found == {
        "container_scrape_error": 0,
        "cgroupkit_scrape_left_out": 0,
        "cgroupkit_cgroups": 0,
        "cgroupkit_descriptors": 0,
    }


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("9753", ("127.0.0.1", 9753)),
        (":9753", ("0.0.0.0", 9753)),
        ("web:80", ("web", 80)),
        ("[::1]:0", ("::1", 0)),
        ("10.0.0.5:80", ("10.0.0.5", 80)),
    ],
)
def test_a_port_alone_is_for_this_machine_alone(listen: str, expected: tuple[str, int]) -> None:
    assert address(listen) == expected


@pytest.mark.parametrize(
    "listen", ["", "here", "localhost:70000", "1.2.3.4:x", "localhost:" + "9" * 5000]
)
def test_a_bad_address(listen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--listen", listen]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


@kernel
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--listen", "no-such-host.invalid:0"], 1, "cannot listen on no-such-host.invalid:0"),
        (["--listen", "a..b:0"], 1, "cannot listen on a..b:0: that is no host's name"),
        (["--listen", "192.0.2.1:0"], 1, "requested address): give an address of this"),
        (["--timeout", "0"], 2, "--timeout '0' is not valid"),
        (["--once", "--tree", "/no/such/cgroup"], 1, "no cgroup '/no/such/cgroup'"),
        (["--once", "/no/such/cgroup"], 1, "no cgroup '/no/such/cgroup'"),
        (["--once", "--tree", "/", "/"], 2, "not both"),
    ],
)
def test_one_clear_error(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["metrics", *words]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_without_prometheus_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "cgroupkit.prometheus")
    with pytest.raises(ImportError, match=r'pip install "cgroupkit\[prometheus\]"'):
        importlib.import_module("cgroupkit.prometheus")
    assert main(["metrics", "--once"]) == 1
    assert 'pip install "cgroupkit[prometheus]"' in capsys.readouterr().err


# The server


@contextmanager
def closing_server(app: Any) -> Iterator[Server]:
    server = Server("127.0.0.1", 0, app)
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def server() -> Iterator[Server]:
    def app(environment: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"yes\n"]

    with closing_server(app) as server:
        yield server


def ask(server: Server) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}", timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def test_clients_that_say_nothing_are_not_many(server: Server, eventually: Any) -> None:
    assert ask(server) == "yes\n"
    idle = [
        socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(serving.AT_A_TIME)
    ]

    def turned_away() -> bool:
        try:
            ask(server)
        except (OSError, urllib.error.URLError):
            return True
        return False

    def served() -> bool:
        return not turned_away()

    eventually(turned_away)
    for each in idle:
        each.close()
    eventually(served)


def test_a_client_that_is_too_slow(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as hasty:
        hasty.setattr(server.RequestHandlerClass, "timeout", 0.1)
        with (
            socket.create_connection(("127.0.0.1", server.server_port), timeout=PATIENCE) as slow,
            suppress(ConnectionError),  # who was stopped here is too slow even for this
        ):
            slow.sendall(b"GET /")
            assert slow.recv(100) == b""
    assert ask(server) == "yes\n"
    assert capsys.readouterr().err == ""


def test_a_client_that_says_a_little_now_and_then(
    server: Server, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    said = iter([b"GET / HTTP/1.0\r\nX: "])
    with monkeypatch.context() as hasty:
        hasty.setattr(serving, "PATIENCE", 0.3)
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=PATIENCE) as slow:

            def ended() -> bool:
                try:
                    slow.sendall(next(said, b"a"))
                except OSError:
                    return True
                return False

            eventually(ended)
    assert ask(server) == "yes\n"


def test_without_threads_it_says_so_and_goes_on(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as none_left:
        none_left.setattr(threading.Thread, "start", refuse)
        for _ in range(serving.AT_A_TIME + 1):
            with pytest.raises(urllib.error.HTTPError, match="503") as caught:
                ask(server)
            caught.value.close()
        assert main(["metrics", "--listen", "127.0.0.1:0"]) == 1
    assert ask(server) == "yes\n"
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "cannot start a thread" in said and "pids.max" in said


@kernel
def test_it_ends_while_it_answers(cgroup: Cgroup) -> None:
    """Whichever thread the kernel would give the signal to."""
    for _ in range(3):
        with subprocess.Popen(
            command("--listen", "127.0.0.1:0", cgroup.name), stderr=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stderr is not None
                port = int(server.stderr.readline().rpartition(":")[2].partition("/")[0])
                with ExitStack() as clients:
                    for _ in range(8):
                        client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
                        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    server.terminate()
                    assert server.wait(PATIENCE) == 0
            finally:
                server.kill()


def test_a_version_that_nobody_knows_gets_text() -> None:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Gauge("a", "b", registry=registry)
    with closing_server(plain(prometheus_client.make_wsgi_app(registry))) as server:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}",
            headers={"Accept": "application/openmetrics-text;version=x.y.z"},
        )
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            assert b"a 0.0" in answer.read()


# Prometheus itself


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """prometheus(target): one of our own that scrapes that target; its address."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed here (Debian: prometheus)")
    started: list[subprocess.Popen[bytes]] = []

    def start(target: str) -> str:
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            f"  - {{job_name: cgroups, static_configs: [{{targets: ['{target}']}}]}}\n"
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        with open(tmp_path / "log", "wb") as log:
            started.append(
                subprocess.Popen(
                    [program, f"--config.file={tmp_path}/prometheus.yml",
                     f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address={address}"],
                    cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )
            )  # fmt: skip
        return address

    yield start
    for process in started:
        process.terminate()
        process.wait(PATIENCE)


@kernel
def test_prometheus_answers(
    cgroup: Cgroup, hog: Any, needs: Any, eventually: Any, prometheus: Callable[[str], str]
) -> None:
    needs("memory")
    hog(cgroup, 16 << 20)
    with subprocess.Popen(
        command("--listen", "127.0.0.1:0", cgroup.name), stderr=subprocess.PIPE, text=True
    ) as exporter:
        try:
            assert exporter.stderr is not None
            url = urllib.parse.urlsplit(exporter.stderr.readline().split()[-1])
            address = prometheus(url.netloc)

            def query(words: str) -> list[Any]:
                asked = f"http://{address}/api/v1/query?query={urllib.parse.quote(words)}"
                try:
                    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                        return list(json.load(answer)["data"]["result"])
                except OSError:
                    return []

            def values(words: str) -> list[str]:
                """Empty while a scrape that took too long is the last one."""
                return [found["value"][1] for found in query(words)]

            def right() -> bool:
                found = values(f'container_memory_usage_bytes{{id="{cgroup.name}"}}')
                return found == [str(cgroup.memory.current)] and cgroup.memory.current >= 16 << 20

            eventually(right, "Prometheus has no such metric, or a wrong value")
            eventually(lambda: values("up") == ["1"])
            eventually(lambda: len(query(f'{{id="{cgroup.name}"}}')) > 20)
            kinds = 'count({job="cgroups",__name__=~"container_.*"}) > bool 20'
            eventually(lambda: values(kinds) == ["1"])
        finally:
            exporter.terminate()
            assert exporter.wait(PATIENCE) == 0
