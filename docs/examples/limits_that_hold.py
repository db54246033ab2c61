"""Limits that hold, on v1, v2 and hybrid machines: run it as root, or with cgroups delegated to you."""

import subprocess
import sys
import time

from cgroupkit import Sandbox, Verdict

MIB = 1 << 20
SPIN = "print('ready', flush=True)\nwhile True: pass"
BREED = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"

with Sandbox(memory="64M") as box:  # a memory bomb
    done = box.run([sys.executable, "-c", "b'x' * (1 << 30)"])
assert done.verdict is Verdict.OOM and 60 * MIB <= done.usage.memory.peak <= 64 * MIB, done

with Sandbox(pids_limit=32) as box:  # a fork bomb
    done = box.run([sys.executable, "-c", BREED], timeout=5)
assert done.verdict is Verdict.TIMEOUT and done.usage.pids.peak == 32, done
assert done.usage.pids.events.max > 0, done

with Sandbox(memory="1G", cpus=0.5) as box:  # a CPU hog
    hog = box.popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE)
    hog.stdout.readline()
    before, _, after = box.stats(), time.sleep(2), box.stats()
    used = (after.cpu.usage_usec - before.cpu.usage_usec) * 1000 / (after.time_ns - before.time_ns)
    assert 0.45 <= used <= 0.55, used

    box.freeze()  # it makes no progress until it is thawed
    before, _, after = box.stats(), time.sleep(0.5), box.stats()
    assert after.cpu.usage_usec == before.cpu.usage_usec
    box.thaw()
    time.sleep(0.5)
    assert box.stats().cpu.usage_usec > after.cpu.usage_usec

    for size in ("200M", "2G"):  # live, smaller and larger
        box.update(memory=size)
        assert box.cgroup.memory.max == {"200M": 200 * MIB, "2G": 2048 * MIB}[size]
    assert hog.poll() is None
print("every limit held")
