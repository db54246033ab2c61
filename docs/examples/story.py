"""A process at work, and its limits: 1 GiB, 200 MiB, 2 GiB; frozen, thawed and ended."""

import subprocess
import sys
import time
from pathlib import Path

from cgroupkit import Cgroup, host
from cgroupkit.units import format_bytes

WORK = """
import time
memory, count = [], 0
while True:
    if len(memory) < 15:
        memory.append(b"x" * (8 << 20))  # 8 MiB more, up to 120 MiB
    until = time.monotonic() + 0.25
    while time.monotonic() < until:
        count += 1
    print(f"    process: I hold {8 * len(memory):3} MiB and have counted to {count:,}", flush=True)
"""


def look(cg: Cgroup, title: str) -> None:
    file = Path(cg.path("memory"), "memory.max" if cg.memory.version == 2 else "memory.limit_in_bytes")
    memory, cpu = cg.stats().memory, (cg.stats().cpu.usage_usec or 0) / 1e6
    uses = f"{format_bytes(memory.current)} of {format_bytes(memory.max)} in use, CPU time {cpu:.3f} s"
    print(f"{title}: {uses}\n{file} holds {file.read_text()}", end="", flush=True)


print(f"this machine has cgroups {host().mode}; the process goes into a new one", flush=True)
cg = Cgroup.create("story", memory="1G", pids_limit=100)
process = subprocess.Popen([sys.executable, "-c", WORK])
try:
    cg.attach(process.pid)
    time.sleep(1)
    look(cg, "created with 1 GiB")
    for size in ("200M", "2G"):
        cg.update(memory=size)
        look(cg, f"updated to {size}, while it runs")
        time.sleep(1)
    cg.freeze()
    look(cg, "frozen")
    time.sleep(0.5)
    look(cg, "half a second later, not a step further")
    cg.thaw()
    time.sleep(1)
    look(cg, "thawed")
finally:
    cg.kill()
    process.kill()  # if it never came into the cgroup
    status = process.wait()
    cg.remove()
print(f"killed (exit status {status}) and {'not ' if cg.exists() else ''}removed")
