"""One running process and its memory limit: 1 GiB, then 200 MiB, then 2 GiB; frozen and thawed."""

import subprocess

from cgroupkit import Cgroup, host
from cgroupkit.units import format_bytes

print(f"this machine has cgroups {host().mode}")

cg = Cgroup.create("story", memory="1G", cpus=1, pids_limit=100)
process = subprocess.Popen(["sleep", "60"])
try:
    cg.attach(process.pid)
    print(f"{cg.path('memory')} holds {cg.procs}, limit {format_bytes(cg.memory.max)}")

    cg.update(memory="200M")
    print(f"after update: limit {format_bytes(cg.memory.max)}, in use {cg.memory.current} bytes")

    cg.update(memory="2G")  # larger works as well: the writes go out in the right order
    print(f"grown: limit {format_bytes(cg.memory.max)}")

    cg.freeze()
    print(f"frozen: {cg.frozen}")
    cg.thaw()
    print(f"frozen: {cg.frozen}")
finally:
    cg.kill()
    process.wait()
    cg.remove()
print("killed and removed")
