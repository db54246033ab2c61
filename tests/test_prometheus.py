"""CgroupCollector: cAdvisor's names, types and labels, and the values of stats()."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from cgroupkit import Cgroup
from cgroupkit.cli import main
from cgroupkit.errors import InvalidValueError

prometheus_client = pytest.importorskip(
    "prometheus_client", reason="prometheus_client is not installed"
)

from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from cgroupkit.prometheus import FAMILIES, CgroupCollector  # noqa: E402

PATIENCE = 120


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def scraped(registry: CollectorRegistry) -> dict[str, Any]:
    text = generate_latest(registry).decode()
    return {f.name: f for f in text_string_to_metric_families(text)}


@pytest.mark.kernel
def test_the_values_are_those_of_stats(
    cgroup: Cgroup, sleeper: Any, registry: CollectorRegistry, needs: Any
) -> None:
    needs("memory")
    needs("pids")
    cgroup.update(memory="64M", pids_limit=50)
    sleeper(cgroup)
    with CgroupCollector([cgroup], registry=registry):
        found = scraped(registry)
        labels = {"id": cgroup.name, "name": "", "image": ""}

        def value(name: str, **more: str) -> float:
            (sample,) = [s for s in found[name].samples if s.labels == labels | more]
            return float(sample.value)

        assert value("container_spec_memory_limit_bytes") == 64 << 20
        assert value("container_threads") == 1
        assert value("container_threads_max") == 50
        assert value("container_memory_failcnt") == 0
        assert value("container_cpu_usage_seconds", cpu="total") <= cgroup.cpu.stat.usage_usec / 1e6
        usage = value("container_memory_usage_bytes")
        assert 0 <= value("container_memory_working_set_bytes") <= usage <= 64 << 20
        assert found["container_cpu_usage_seconds"].type == "counter"
        assert found["container_memory_usage_bytes"].type == "gauge"
        assert found["cgroupkit_cgroups"].samples[0].value == 1
        names = {s.name for s in found["container_cpu_usage_seconds"].samples}
        assert names == {"container_cpu_usage_seconds_total"}
    assert scraped(registry) == {}


@pytest.mark.kernel
def test_a_tree_is_followed(cgroup: Cgroup, registry: CollectorRegistry) -> None:
    with CgroupCollector(tree=cgroup.name, registry=registry):
        assert scraped(registry)["cgroupkit_cgroups"].samples[0].value == 0
        inner = Cgroup.create(f"{cgroup.name}/inner")
        scraped(registry)
        found = scraped(registry)["container_cpu_usage_seconds"]
        assert {s.labels["id"] for s in found.samples} == {inner.name}


@pytest.mark.kernel
def test_registered_twice(cgroup: Cgroup, registry: CollectorRegistry) -> None:
    refused = pytest.raises(InvalidValueError, match=r"already .* close\(\) it first")
    with CgroupCollector([cgroup], registry=registry), refused:
        CgroupCollector([cgroup], registry=registry)
    with CgroupCollector([cgroup], registry=registry):
        assert scraped(registry)["cgroupkit_cgroups"].samples[0].value == 1


@pytest.mark.kernel
def test_a_scrape_has_an_end(cgroup: Cgroup, registry: CollectorRegistry) -> None:
    with CgroupCollector([cgroup], registry=registry, timeout=0):
        found = scraped(registry)
        assert found["cgroupkit_scrape_left_out"].samples[0].value == 1
        assert (
            "container_cpu_usage_seconds" not in found
            or not found["container_cpu_usage_seconds"].samples
        )


def test_names_are_told_once_and_not_both_ways() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    with pytest.raises(InvalidValueError, match="not both"):
        CgroupCollector([], tree="/docker", registry=None)
    with pytest.raises(InvalidValueError, match="timeout="):
        CgroupCollector([], registry=None, timeout=-1)


# The command


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "cgroupkit", "metrics", *words]


@pytest.mark.kernel
def test_the_command_prints_once(cgroup: Cgroup) -> None:
    done = subprocess.run(
        command("--once", cgroup.name), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert f'container_cpu_usage_seconds_total{{cpu="total",id="{cgroup.name}"' in done.stdout


@pytest.mark.kernel
def test_the_command_serves_and_ends(cgroup: Cgroup) -> None:
    with subprocess.Popen(
        command("--listen", "127.0.0.1:0", cgroup.name), stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        url = server.stderr.readline().split()[-1]
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert cgroup.name in answer.read().decode()
        port = url.rpartition(":")[2].partition("/")[0]
        second = subprocess.run(
            command("--listen", f"127.0.0.1:{port}"),
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}: EADDRINUSE" in second.stderr
        server.terminate()
        assert server.wait(PATIENCE) == 0
        assert server.stderr.read() == ""


@pytest.mark.parametrize("listen", ["", "here", "localhost:70000", "1.2.3.4:x"])
def test_a_bad_address(listen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--listen", listen]) == 2
    assert "HOST:PORT" in capsys.readouterr().err
