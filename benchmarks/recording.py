"""What recording costs: the CPU time of a Recorder's process, and the rate that it achieves.

python benchmarks/recording.py
"""

from __future__ import annotations

import os
import tempfile
import time

from cgroupkit import Sandbox
from cgroupkit.recording import Recorder

SECONDS = 4.0
BUSY = "end=$(($(date +%s) + 30)); while [ $(date +%s) -lt $end ]; do :; done"


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        for name, argv in {"idle": ["sleep", "30"], "starts programs": ["sh", "-c", BUSY]}.items():
            for hz in (100, 1000):
                with Sandbox(memory="200M", cpus=0.5) as box:
                    box.popen(argv)
                    measure(box, name, hz, f"{work}/{hz}.jsonl")


def measure(box: Sandbox, name: str, hz: int, file: str) -> None:
    used, began = time.process_time(), time.monotonic()
    with Recorder(box.cgroup, file, hz=hz) as recorder:
        time.sleep(SECONDS)
    used, took = time.process_time() - used, time.monotonic() - began
    size = os.path.getsize(file) / recorder.samples
    print(
        f"{name:<16} {hz:>5} Hz   {used / took:6.1%} of a core"
        f"   {used / recorder.samples * 1e6:5.0f} us, {size:4.0f} bytes a sample"
        f"   {recorder.rate:6.1f} a second, {recorder.missed} missed"
    )


main()
