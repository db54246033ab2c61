"""What a Sampler costs by the number of cgroups: time for each, memory for each, and growth.

    python benchmarks/sampling_scale.py [MOST]

Root, gcc, and v1's memory, cpu, cpuacct and pids hierarchies. Nine files of each cgroup (the Sampler
reads eleven) as far as the descriptors go, then one file of each: 10,000 cgroups take 110,000
descriptors otherwise. Time is compared with the C yardstick's in the same round.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable, Sequence

import psutil
from sweeping import FIELDS, all_descriptors, c_sweep, nine_files, program, some_cgroups, timed

from cgroupkit import Cgroup, Sampler

SHARE = 0.95
SWEEPS = 10_000


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    descriptors = all_descriptors()
    with tempfile.TemporaryDirectory() as work, some_cgroups(most) as cgroups:
        sweep = c_sweep(work)
        sizes = [10**power for power in range(1, len(str(most)))]
        fits = int(descriptors * SHARE) // 11 - 1
        print("nine files of each cgroup")
        for count in sorted({min(size, fits) for size in sizes}):
            compare(sweep, cgroups[:count], FIELDS, nine_files)
        print("memory.stat of each cgroup")
        for count in sizes:
            compare(sweep, cgroups[:count], ("memory.stat",), one_file)
        memory([cgroup.name for cgroup in cgroups[:fits]])
        growth(cgroups[:20])


def one_file(cgroup: Cgroup) -> list[str]:
    return [f"{cgroup.path('memory')}/memory.stat"]


def compare(
    sweep: str, cgroups: Sequence[Cgroup], fields: Iterable[str], files: Callable[[Cgroup], list[str]]
) -> None:
    paths = [path for cgroup in cgroups for path in files(cgroup)]
    times: tuple[list[int], list[int]] = [], []
    with Sampler(cgroups, fields=fields, share=SHARE) as sampler, program([sweep], paths) as c:
        sampler.sample()
        for _ in range(max(10, 20_000 // len(cgroups))):
            for taken, run in zip(times, (c, timed(sampler.sample)), strict=True):
                taken.append(run())
        kept = sampler.descriptors
    reference, ours = (statistics.median(taken) / len(cgroups) / 1000 for taken in times)
    print(
        f"{len(cgroups):7} cgroups: Sampler {ours:6.1f} us a cgroup, C {reference:6.1f} us, "
        f"{ours / reference:.2f} x C, {kept} descriptors"
    )


def memory(names: Sequence[str]) -> None:
    """What Python allocates: for a Sampler, for each cgroup and its place in it, and for its Stats."""
    allocated(names[:1])  # whatever is made once and kept
    one, one_sample = allocated(names[:1])
    watched, sample = (
        (many - few) / (len(names) - 1)
        for many, few in zip(allocated(names), (one, one_sample), strict=True)
    )
    print(
        f"memory: {one} bytes for a sampler, {watched:.0f} for each further cgroup, and {sample:.0f} "
        "for its Stats while they are kept"
    )


def allocated(names: Sequence[str]) -> tuple[int, int]:
    gc.collect()
    tracemalloc.start()
    with Sampler(map(Cgroup, names), fields=FIELDS, share=SHARE) as sampler:
        sample = sampler.sample()
        gc.collect()
        both = tracemalloc.get_traced_memory()[0]
        del sample
        sampler.sample()
        gc.collect()
        watched = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return watched, both - watched


def growth(cgroups: Sequence[Cgroup]) -> None:
    process = psutil.Process()
    with Sampler(cgroups, fields=FIELDS) as sampler:
        for _ in range(100):
            sampler.sample()
        gc.collect()
        tracemalloc.start()
        resident, blocks = process.memory_info().rss, sys.getallocatedblocks()
        for _ in range(SWEEPS):
            sampler.sample()
        gc.collect()
        left = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        resident = process.memory_info().rss - resident
        blocks = sys.getallocatedblocks() - blocks
    print(
        f"growth over {SWEEPS} sweeps of {len(cgroups)}: {left} bytes and {blocks} blocks of Python's, "
        f"{resident} bytes resident"
    )


main()
