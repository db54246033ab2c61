"""Nine v1 files of many cgroups, into Stats: Sampler, C that parses nothing, and what others do.

    python benchmarks/sampling.py [CGROUPS]

Root, gcc, and v1's memory, cpu, cpuacct and pids hierarchies. What is installed takes part: cgroupspy
(pip), and the Go libraries of containerd and runc (Debian's golang-go,
golang-github-containerd-cgroups-dev and golang-github-opencontainers-runc-dev).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack

from sweeping import (
    FIELDS,
    Run,
    all_descriptors,
    c_sweep,
    go_stat,
    nine_files,
    program,
    some_cgroups,
    timed,
)

from cgroupkit import Cgroup, Sampler

ROUNDS = 60
GAP = 0.01
"""Seconds before each: what the one before it has left to do in the background is its own."""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    all_descriptors()
    with some_cgroups(count) as cgroups, tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        runs = contestants(cgroups, work, stack)
        taken: dict[str, list[int]] = {name: [] for name in runs}
        for number in range(ROUNDS + 2):
            for name, run in runs.items():
                time.sleep(GAP)
                nanoseconds = run()
                if number > 1:
                    taken[name].append(nanoseconds)
    medians = {name: statistics.median(times) / count / 1000 for name, times in taken.items()}
    best, ours = (medians[name] for name in (C, SAMPLER))
    print(f"{count} cgroups, medians of {ROUNDS} rounds")
    for name, median in medians.items():
        to_c, to_ours = median / best, median / ours
        print(f"{name:<30} {median:8.1f} us a cgroup {to_c:8.2f} x C {to_ours:8.2f} x Sampler")


C = "C: pread, nothing parsed"
SAMPLER = "Sampler.sample()"


def contestants(cgroups: list[Cgroup], work: str, stack: ExitStack) -> dict[str, Run]:
    paths = [path for cgroup in cgroups for path in nine_files(cgroup)]
    usual = stack.enter_context(Sampler(cgroups, fields=FIELDS, share=0.4))
    alone = stack.enter_context(Sampler(cgroups, fields=FIELDS, share=0.4, threads=1))
    sweep, stat = c_sweep(work), go_stat(work)
    runs: dict[str, Run] = {
        C: stack.enter_context(program([sweep], paths)),
        SAMPLER: timed(usual.sample),
        "Sampler(threads=1).sample()": timed(alone.sample),
        "open, read, split": timed(lambda: plain(paths)),
        "Cgroup.stats(), everything": timed(lambda: [cgroup.stats() for cgroup in cgroups]),
    }
    for name in ("containerd", "runc") if stat else ():
        names = [cgroup.name for cgroup in cgroups]
        runs[f"Go: Stat of {name}"] = stack.enter_context(program([stat, name], names))
    if spy := cgroupspy(cgroups):
        runs["cgroupspy"] = timed(spy)
    return runs


def plain(paths: list[str]) -> None:
    """What people write."""
    for path in paths:
        with open(path) as file:
            text = file.read()
        if path.endswith("stat"):
            {key: int(value) for key, value in (line.split() for line in text.splitlines())}
        else:
            int(text)


def cgroupspy(cgroups: list[Cgroup]) -> Callable[[], None] | None:
    """It knows no pids: its eight files."""
    try:
        from cgroupspy.controllers import CpuAcctController, CpuController, MemoryController  # noqa: PLC0415
        from cgroupspy.nodes import Node  # noqa: PLC0415
    except ImportError:
        return None

    def node(cgroup: Cgroup, controller: str) -> Node:
        return Node(os.fsencode(cgroup.path(controller)))

    all_of_them = [
        (
            MemoryController(node(cgroup, "memory")),
            CpuController(node(cgroup, "cpu")),
            CpuAcctController(node(cgroup, "cpuacct")),
        )
        for cgroup in cgroups
    ]

    def read() -> None:
        for memory, cpu, cpuacct in all_of_them:
            _ = (memory.stat, memory.usage_in_bytes, memory.max_usage_in_bytes)
            _ = (memory.limit_in_bytes, memory.failcnt, cpu.stat, cpuacct.usage, cpuacct.acct_stat)

    return read


main()
