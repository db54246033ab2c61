"""Sandbox.run of /bin/true in seven namespaces, side by side with C, bubblewrap and runc.

    python benchmarks/launch.py [--runs 200] [--gap-ms 0 30] [--parent-gb 4]

Needs root, gcc; bwrap and runc are left out where they are not installed. The contestants take
turns in one run, so that a noisy machine is noisy for all of them; quote the medians' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from cgroupkit import Sandbox, delegation, host

NAMESPACES = ("pid", "ipc", "uts", "mnt", "net", "user", "cgroup")
FLAGS = 0x20000000 | 0x08000000 | 0x04000000 | 0x00020000 | 0x40000000 | 0x10000000 | 0x02000000
LIMITS = {"memory": 200 << 20, "cpus": 1.5, "pids_limit": 64}
Launch = Callable[[], float]


def cgroupkit_run(isolate: tuple[str, ...]) -> Launch:
    def launch() -> float:
        start = time.perf_counter()
        with Sandbox(**LIMITS, isolate=isolate) as box:  # type: ignore[arg-type]
            done = box.run(["/bin/true"])
        took = time.perf_counter() - start
        assert done.returncode == 0, done
        return took

    return launch


def command(*argv: str) -> Launch:
    def launch() -> float:
        start = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    return launch


def plan(isolate: tuple[str, ...]) -> list[str]:
    """What Sandbox(**LIMITS) does, as lines for reference.c."""
    lines, limits, counters = [], {}, []
    for hierarchy, place in delegation.place().paths.items():
        directory = f"{hierarchy.directory(place)}/reference-{os.getpid()}"
        lines.append(f"d {directory}")
        if hierarchy.version == 2:
            lines.append(f"c {directory}")
        else:
            lines.append(f"t {directory}/tasks")
        names = {
            1: {
                "cpuset": ({"cpuset.cpus": cpus(), "cpuset.mems": "0"}, ()),
                "memory": (
                    {
                        "memory.limit_in_bytes": str(LIMITS["memory"]),
                        "memory.memsw.limit_in_bytes": str(LIMITS["memory"]),
                    },
                    (
                        "memory.max_usage_in_bytes",
                        "memory.limit_in_bytes",
                        "memory.oom_control",
                        "memory.failcnt",
                    ),
                ),
                "cpu": ({"cpu.cfs_quota_us": "150000"}, ("cpu.stat",)),
                "cpuacct": ({}, ("cpuacct.usage", "cpuacct.usage_user", "cpuacct.usage_sys")),
                "pids": ({"pids.max": "64"}, ("pids.peak", "pids.max", "pids.events")),
                "io": (
                    {},
                    (
                        "blkio.throttle.io_service_bytes_recursive",
                        "blkio.throttle.io_serviced_recursive",
                    ),
                ),
            },
            2: {
                "memory": (
                    {
                        "memory.max": str(LIMITS["memory"]),
                        "memory.swap.max": "0",
                        "memory.oom.group": "1",
                    },
                    ("memory.peak", "memory.max", "memory.events"),
                ),
                "cpu": ({"cpu.max": "150000 100000"}, ("cpu.stat",)),
                "pids": ({"pids.max": "64"}, ("pids.peak", "pids.max", "pids.events")),
                "io": ({}, ("io.stat",)),
            },
        }[hierarchy.version]
        for controller in hierarchy.controllers:
            writes, reads = names.get(controller, ({}, ()))
            limits |= {f"{directory}/{file}": text for file, text in writes.items()}
            counters += [f"{directory}/{file}" for file in reads]
    lines += [f"w {file} {text}" for file, text in limits.items() if os.path.exists(_parent(file))]
    lines += [f"r {file}" for file in counters if os.path.exists(_parent(file))]
    return [*lines, f"n {FLAGS if isolate else 0}"]


def _parent(file: str) -> str:
    """The same file one level up, which is there before the benchmark's own cgroup is."""
    directory, name = os.path.split(file)
    return f"{os.path.dirname(directory)}/{name}"


def cpus() -> str:
    return Path("/sys/devices/system/cpu/online").read_text().strip()


@contextmanager
def reference(isolate: tuple[str, ...]) -> Iterator[Launch]:
    with tempfile.TemporaryDirectory() as scratch:
        program = f"{scratch}/reference"
        source = Path(__file__).with_name("reference.c")
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
        lines = "".join(f"{line}\n" for line in plan(isolate))
        with subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(lines)

            def launch() -> float:
                process.stdin.write("go\n")
                process.stdin.flush()
                return int(process.stdout.readline()) / 1e9

            yield launch
            process.stdin.close()


@contextmanager
def runc() -> Iterator[Launch]:
    """A bundle of one static program, with the same limits."""
    with tempfile.TemporaryDirectory() as bundle:
        root = Path(bundle, "rootfs", "bin")
        root.mkdir(parents=True)
        subprocess.run(
            ["gcc", "-static", "-x", "c", "-o", root / "true", "-"],
            input=b"int main(void) { return 0; }",
            check=True,
        )
        subprocess.run(["runc", "spec", "-b", bundle], check=True)
        config = Path(bundle, "config.json")
        spec = json.loads(config.read_text())
        spec["process"] |= {"terminal": False, "args": ["/bin/true"]}
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] in ("proc", "tmpfs")]
        spec["linux"]["resources"] = {
            "memory": {"limit": LIMITS["memory"], "swap": LIMITS["memory"]},
            "cpu": {"quota": 150000, "period": 100000},
            "pids": {"limit": 64},
        }
        config.write_text(json.dumps(spec))
        serial = iter(range(1_000_000))

        def launch() -> float:
            return command(
                "runc", "run", "--no-new-keyring", "-b", bundle, f"bench-{os.getpid()}-{next(serial)}"
            )()

        yield launch


def compare(contestants: dict[str, Launch], runs: int, gap: float) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(runs + 5):
        for name, launch in contestants.items():
            took = launch()
            if turn >= 5:
                times[name].append(took)
            time.sleep(gap)
    return {name: statistics.median(values) * 1000 for name, values in times.items()}


def big_parent(gigabytes: int, runs: int, gap: float) -> dict[str, float]:
    """The same launch from this small process and from one that holds memory, in turns."""
    code = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]; from launch import *\n"
        "memory = bytearray(int(sys.argv[1]) << 30)\n"
        "launch = cgroupkit_run(NAMESPACES)\n"
        "for line in sys.stdin: print(launch(), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(gigabytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout

        def launch() -> float:
            process.stdin.write("go\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        times = compare(
            {"small parent": cgroupkit_run(NAMESPACES), f"{gigabytes} GB parent": launch}, runs, gap
        )
        process.stdin.close()
    return times


def show(title: str, times: dict[str, float]) -> None:
    first = next(iter(times.values()))
    print(f"\n{title}")
    for name, median in times.items():
        print(f"  {name:<28} {median:8.2f} ms   {median / first:5.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--gap-ms", type=float, nargs="*", default=[0, 30])
    parser.add_argument("--parent-gb", type=int, default=4)
    options = parser.parse_args()
    print(f"Linux {os.uname().release}, cgroups {host().mode}, Python {sys.version.split()[0]}")
    with Sandbox() as keep:  # keeps the parent cgroup in place for the reference
        keep.run(["/bin/true"])
        for gap in options.gap_ms:
            bundled = runc() if shutil.which("runc") else nullcontext()
            with reference(()) as plain, reference(NAMESPACES) as walled, bundled as bundle:
                show(
                    f"no namespaces, {gap:.0f} ms gaps",
                    compare(
                        {"C reference": plain, "Sandbox.run": cgroupkit_run(())},
                        options.runs,
                        gap / 1000,
                    ),
                )
                contestants = {"C reference": walled, "Sandbox.run": cgroupkit_run(NAMESPACES)}
                if shutil.which("bwrap"):
                    contestants["bwrap --unshare-all"] = command(
                        *("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc"),
                        *("--dev", "/dev", "/bin/true"),
                    )
                if bundle:
                    contestants["runc run"] = bundle
                show(
                    f"seven namespaces, {gap:.0f} ms gaps",
                    compare(contestants, options.runs, gap / 1000),
                )
            if options.parent_gb:
                show(
                    f"from a large parent, {gap:.0f} ms gaps",
                    big_parent(options.parent_gb, options.runs, gap / 1000),
                )


if __name__ == "__main__":
    main()
