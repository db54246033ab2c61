"""Nine v1 files of many cgroups, into Stats: Sampler, C that parses nothing, what people write.

    python benchmarks/sampling.py [CGROUPS]

Root, gcc, and v1's memory, cpu, cpuacct and pids hierarchies.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cgroupkit import Cgroup, Sampler

FILES = {
    "memory": ["stat", "usage_in_bytes", "max_usage_in_bytes", "limit_in_bytes", "failcnt"],
    "cpu": ["stat"],
    "cpuacct": ["usage", "stat"],
    "pids": ["current"],
}
FIELDS = (
    "cpu", "memory.stat", "memory.current", "memory.peak", "memory.max", "memory.events", "pids.current"
)  # fmt: skip
ROUNDS = 60


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    top = Cgroup.create(f"sampling-{os.getpid()}")
    try:
        cgroups = [Cgroup.create(f"{top.name}/{number}") for number in range(count)]
        compare(cgroups)
    finally:
        top.remove(recursive=True)


def compare(cgroups: list[Cgroup]) -> None:
    paths = [
        f"{cgroup.path(controller)}/{controller}.{name}"
        for cgroup in cgroups
        for controller, names in FILES.items()
        for name in names
    ]
    with tempfile.TemporaryDirectory() as work, Sampler(cgroups, fields=FIELDS, share=0.9) as sampler:
        program = f"{work}/sweep"
        source = Path(__file__).with_name("sweep.c")
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
        pipe = subprocess.PIPE
        with subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True, bufsize=1) as c:
            assert c.stdin and c.stdout
            c.stdin.write("".join(f"{path}\n" for path in paths) + "\n")
            c.stdin.flush()
            c.stdout.readline()

            def reference() -> int:
                assert c.stdin and c.stdout
                c.stdin.write("go\n")
                c.stdin.flush()
                return int(c.stdout.readline())

            contestants: dict[str, Callable[[], int]] = {
                "C: pread, nothing parsed": reference,
                "Sampler.sample()": timed(sampler.sample),
                "open, read, split": timed(lambda: plain(paths)),
                "Cgroup.stats()": timed(lambda: [cgroup.stats() for cgroup in cgroups]),
            }
            taken: dict[str, list[int]] = {name: [] for name in contestants}
            for _ in range(ROUNDS):
                for name, run in contestants.items():
                    taken[name].append(run())
            c.stdin.close()
    medians = {name: statistics.median(times) / len(cgroups) / 1000 for name, times in taken.items()}
    best = medians["C: pread, nothing parsed"]
    for name, median in medians.items():
        print(f"{name:<28} {median:8.1f} us a cgroup   {median / best:6.2f}")


def timed(work: Callable[[], object]) -> Callable[[], int]:
    def run() -> int:
        start = time.perf_counter_ns()
        work()
        return time.perf_counter_ns() - start

    return run


def plain(paths: list[str]) -> None:
    for path in paths:
        with open(path) as file:
            text = file.read()
        if path.endswith("stat"):
            {key: int(value) for key, value in (line.split() for line in text.splitlines())}
        else:
            int(text)


main()
