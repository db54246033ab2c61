"""What the benchmarks of sampling share: cgroups, their files, and programs that time themselves."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cgroupkit import Cgroup

HERE = Path(__file__).parent
FILES = {
    "memory": ["stat", "usage_in_bytes", "max_usage_in_bytes", "limit_in_bytes", "failcnt"],
    "cpu": ["stat"],
    "cpuacct": ["usage", "stat"],
    "pids": ["current"],
}
FIELDS = (
    "cpu", "memory.stat", "memory.current", "memory.peak", "memory.max", "memory.events", "pids.current"
)  # fmt: skip
GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}

Run = Callable[[], int]
"""Sweeps once; how many nanoseconds that took."""


def all_descriptors() -> int:
    """Allow us as many as can be had: more than the hard limit takes CAP_SYS_RESOURCE."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for most in (int(Path("/proc/sys/fs/nr_open").read_text()), hard):
        with suppress(ValueError, PermissionError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return most
    return hard


@contextmanager
def some_cgroups(count: int) -> Iterator[list[Cgroup]]:
    top = Cgroup.create(f"sampling-{os.getpid()}")
    try:
        yield [Cgroup.create(f"{top.name}/{number}") for number in range(count)]
    finally:
        top.remove(recursive=True)


def nine_files(cgroup: Cgroup) -> list[str]:
    return [f"{cgroup.path(c)}/{c}.{name}" for c, names in FILES.items() for name in names]


@contextmanager
def program(command: Sequence[str], lines: Iterable[str]) -> Iterator[Run]:
    """A program that is told *lines*, and then sweeps whenever it is told to."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        assert process.stdin and process.stdout
        stdin, stdout = process.stdin, process.stdout

        def run() -> int:
            stdin.write("go\n")
            stdin.flush()
            return int(stdout.readline())

        stdin.write("".join(f"{line}\n" for line in lines) + "\n")
        stdin.flush()
        assert stdout.readline() == "ready\n"
        yield run
        stdin.close()


def c_sweep(work: str) -> str:
    """The C yardstick, built."""
    subprocess.run(["gcc", "-O2", "-o", f"{work}/sweep", HERE / "sweep.c"], check=True)
    return f"{work}/sweep"


def go_stat(work: str) -> str | None:
    """The program of the Go libraries, built; None where they are not installed."""
    sources = Path(GO["GOPATH"], "src/github.com")
    wanted = ("containerd/cgroups/cgroup.go", "opencontainers/runc/libcontainer/cgroups/fs/fs.go")
    if not shutil.which("go") or not all((sources / path).exists() for path in wanted):
        return None
    environment = {**os.environ, **GO, "GOCACHE": f"{work}/cache"}
    command = ["go", "build", "-o", f"{work}/stat", HERE / "stat.go"]
    subprocess.run(command, env=environment, check=True)
    return f"{work}/stat"


def timed(work: Callable[[], object]) -> Run:
    def run() -> int:
        start = time.perf_counter_ns()
        work()
        return time.perf_counter_ns() - start

    return run
