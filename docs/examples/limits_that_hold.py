"""Limits that hold, on v1, v2 and hybrid machines: run it as root, or with cgroups delegated to you."""

import subprocess
import sys
import time
from statistics import mean

from cgroupkit import Sandbox, Verdict

MIB = 1 << 20
SPIN = "print('ready', flush=True)\nwhile True: pass"
BREED = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"


def cpus_used(box: Sandbox, seconds: float) -> float:
    """How many CPUs' worth of time the box takes in the next *seconds*."""
    before = box.stats()
    time.sleep(seconds)
    after = box.stats()
    used = (after.cpu.usage_usec or 0) - (before.cpu.usage_usec or 0)
    return used * 1000 / (after.time_ns - before.time_ns)


with Sandbox(memory="64M") as box:  # a memory bomb
    done = box.run([sys.executable, "-c", "b'x' * (1 << 30)"])
assert done.verdict is Verdict.OOM, done
assert done.usage.memory.peak is None or 60 * MIB <= done.usage.memory.peak <= 65 * MIB, done.usage

with Sandbox(pids_limit=32) as box:  # a fork bomb
    for timeout in (5, 60):  # seconds; not everywhere do the first suffice for 32 forks
        done = box.run([sys.executable, "-c", BREED], timeout=timeout)
        if done.usage.pids.events.max:
            break
assert done.verdict is Verdict.TIMEOUT and done.usage.pids.peak in (32, None), done.usage
assert done.usage.pids.events.max, done.usage  # forks were refused

with Sandbox(memory="1G", cpus=0.5) as box:  # a CPU hog
    hog = box.popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE)
    assert hog.stdout and hog.stdout.readline()
    shares = [cpus_used(box, 2)]
    # Others may want the CPUs too; and what a virtual machine lost while it stood still is counted,
    # until the limit has it paid back.
    while not (max(shares) >= 0.45 and mean(shares) <= 0.55) and len(shares) < 10:
        shares.append(cpus_used(box, 2))
    assert max(shares) >= 0.45 and mean(shares) <= 0.55, shares

    box.freeze(timeout=60)  # it makes no progress until it is thawed
    cpus_used(box, 0.1)  # the last of its time may be counted late
    assert cpus_used(box, 0.5) < 0.01
    box.thaw()
    assert any(cpus_used(box, 0.5) > 0.01 for _ in range(10))

    for size in ("200M", "2G"):  # live, smaller and larger
        box.update(memory=size)
        assert box.cgroup.memory.max == {"200M": 200 * MIB, "2G": 2048 * MIB}[size]
    assert hog.poll() is None
print("every limit held")
