"""What it costs to start: importing cgroupkit, `cgroupkit run -- true`, the launcher itself.

    python benchmarks/startup.py [--runs 30]

Run it with the Python of a virtual environment that cgroupkit is installed in. Contestants take
turns; the medians are printed, and each one's difference to the first of its group.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

from cgroupkit.sandbox.launch import launcher_path


def took(argv: list[str]) -> float:
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=_QUIET)
    _, status = os.waitpid(pid, 0)
    assert status == 0, (argv, status)
    return (time.perf_counter() - start) * 1000


_QUIET = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]


def compare(title: str, commands: dict[str, list[str]], runs: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 2):
        for name, argv in commands.items():
            elapsed = took(argv)
            if turn >= 2:
                times[name].append(elapsed)
            time.sleep(0.01)
    print(f"\n{title}")
    first = statistics.median(next(iter(times.values())))
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:<44} {median:7.2f} ms   {median - first:+7.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    python = [sys.executable, "-c"]
    scripts = os.path.dirname(sys.executable)
    launcher = launcher_path()
    print(f"Linux {os.uname().release}, Python {sys.version.split()[0]}")
    print(f"the launcher has {os.path.getsize(launcher)} bytes")
    compare(
        "import",
        {
            "python -c pass": [*python, "pass"],
            "import cgroupkit": [*python, "import cgroupkit"],
            "from cgroupkit import Cgroup": [*python, "from cgroupkit import Cgroup"],
            "from cgroupkit import Sandbox": [*python, "from cgroupkit import Sandbox"],
            "import attrs, subprocess": [*python, "import attrs, subprocess"],
        },
        runs,
    )
    compare(
        "command line",
        {
            "true": ["/bin/true"],
            "cgroupkit run -- true": [f"{scripts}/cgroupkit", "run", "--", "true"],
            "cgroupkit run --memory 200M ... -- true": [
                *(f"{scripts}/cgroupkit", "run", "--memory", "200M", "--cpus", "1.5"),
                *("--pids-limit", "64", "--", "true"),
            ],
        },
        runs,
    )
    compare("launcher", {"launcher --version": [launcher, "--version"]}, runs * 5)


if __name__ == "__main__":
    main()
