"""Limits that hold, on v1, v2 and hybrid machines: run it as root, or with cgroups delegated to you."""

import subprocess
import sys
import time

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
    done = box.run([sys.executable, "-c", BREED], timeout=5)
assert done.verdict is Verdict.TIMEOUT and done.usage.pids.peak in (32, None), done.usage
assert done.usage.pids.events.max, done.usage  # forks were refused

with Sandbox(memory="1G", cpus=0.5) as box:  # a CPU hog
    hog = box.popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE)
    assert hog.stdout and hog.stdout.readline()
    shares = [cpus_used(box, 2)]
    while shares[-1] < 0.45 and len(shares) < 5:  # others may want the CPUs too: it gets less then
        shares.append(cpus_used(box, 2))
    assert shares[-1] >= 0.45 and max(shares) <= 0.55, shares

    box.freeze()  # it makes no progress until it is thawed
    assert cpus_used(box, 0.5) < 0.01
    box.thaw()
    assert cpus_used(box, 0.5) > 0.01

    for size in ("200M", "2G"):  # live, smaller and larger
        box.update(memory=size)
        assert box.cgroup.memory.max == {"200M": 200 * MIB, "2G": 2048 * MIB}[size]
    assert hog.poll() is None
print("every limit held")
