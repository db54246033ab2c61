"""Does anything grow? Samples and watches cgroups that come and go, for long.

    python benchmarks/soak.py [MINUTES] [CGROUPS]

Root. Another process removes cgroups and makes them anew under the same name, some with a process that
works; they are sampled once a second with their rates, and some are watched for events. Prints, each
minute, what this process holds, and in the end whether it grew and whether a rate was impossible.
"""

from __future__ import annotations

import gc
import os
import random
import select
import subprocess
import sys
import time
from contextlib import suppress

import attrs
import psutil
from sweeping import all_descriptors

from cgroupkit import Cgroup, Sampler
from cgroupkit.errors import CgroupKitError
from cgroupkit.events import Watch
from cgroupkit.stats import Stats

FIELDS = ("cpu", "memory.stat", "memory.current", "pids.current")
EACH_SECOND = 50
WORKING = 40
"""Every so many get a process."""
WORK = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
WATCHED = 100
WARM_UP = 2
"""Minutes in which the memory may still grow: pools of Python's fill."""


@attrs.define
class Seen:
    sweeps: int = 0
    stats: int = 0
    events: int = 0
    slowest: float = 0
    fastest_cpu: float = 0
    most_faults: float = 0


def main() -> int:
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    all_descriptors()
    top = Cgroup.create(f"soak-{os.getpid()}")
    churn = [sys.executable, __file__, "--churn", top.name, str(count)]
    try:
        with subprocess.Popen(churn, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as churning:
            assert churning.stdin and churning.stdout
            churning.stdout.readline()  # all are there
            held = soak(top, minutes)
            churning.stdin.close()
            made = int(churning.stdout.readline())
    finally:
        top.kill()
        top.remove(recursive=True)
    print(f"{made} cgroups were removed and made anew")
    (first, descriptors), (last, _) = held[min(WARM_UP, len(held) - 1)], held[-1]
    peak = max(number for _, number in held)
    print(f"resident {first:.1f} MiB after warming up, {last:.1f} MiB in the end")
    print(f"descriptors {descriptors} after warming up, {peak} at most")
    return 0


def soak(top: Cgroup, minutes: int) -> list[tuple[float, int]]:
    process, seen, held = psutil.Process(), Seen(), []
    with Sampler.tree(top, fields=FIELDS, share=0.8) as sampler, Watch() as watch:
        watched: set[Cgroup] = set()
        for minute in range(minutes):
            end = time.monotonic() + 60
            while time.monotonic() < end:
                sample = sweep(sampler, seen)
                watch_some(watch, watched, list(sample))
                for event in watch.wait(1):
                    seen.events += event.count
                    if event.kind == "removed" and event.cgroup:
                        watched.discard(event.cgroup)
            gc.collect()
            held.append((process.memory_info().rss / 2**20, process.num_fds()))
            print(
                f"minute {minute + 1}: {held[-1][0]:.1f} MiB resident, {held[-1][1]} descriptors, "
                f"{seen.sweeps} sweeps of {len(sampler)} cgroups, {seen.stats} stats, "
                f"{seen.events} events, slowest sweep {seen.slowest * 1000:.0f} ms, highest rates "
                f"{seen.fastest_cpu:.2f} cores and {seen.most_faults:.0f} faults a second",
                flush=True,
            )
    return held


def sweep(sampler: Sampler, seen: Seen) -> dict[Cgroup, Stats]:
    start = time.monotonic()
    sample = sampler.sample()
    seen.slowest = max(seen.slowest, time.monotonic() - start)
    seen.sweeps += 1
    seen.stats += len(sample)
    for rate in sampler.rates(sample).values():
        seen.fastest_cpu = max(seen.fastest_cpu, rate.cpu_cores or 0)
        seen.most_faults = max(seen.most_faults, rate.faults or 0)
    return sample


def watch_some(watch: Watch, watched: set[Cgroup], all_of_them: list[Cgroup]) -> None:
    """Watch always about as many: those that were removed have told so, and left."""
    free = [cgroup for cgroup in all_of_them if cgroup not in watched]
    for cgroup in random.sample(free, min(WATCHED - len(watched), len(free))):
        with suppress(CgroupKitError):  # it went meanwhile
            watch.add(cgroup)
            watched.add(cgroup)


def churn(top: str, count: int) -> None:
    """Until standard input ends."""
    for number in range(count):
        Cgroup.create(f"{top}/{number}")
    print("ready", flush=True)
    made, working = 0, list[subprocess.Popen[bytes]]()
    while not select.select([0], [], [], 1 / EACH_SECOND)[0]:
        cgroup = Cgroup(f"{top}/{random.randrange(count)}")
        cgroup.kill()
        cgroup.remove()
        cgroup = Cgroup.create(cgroup.name)
        made += 1
        if made % WORKING == 0:
            working.append(subprocess.Popen(["sh", "-c", WORK]))
            cgroup.attach(working[-1].pid)
        working = [process for process in working if process.poll() is None]
    print(made, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--churn"]:
        churn(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())
