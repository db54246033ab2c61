"""Some of everything, for a picture: CPU time, a file written and read back, and ever more memory."""

import hashlib
import mmap
import os
import tempfile
import threading
import time

MIB = 1 << 20


def compute(seconds: float) -> None:
    """On two CPUs, as much as there is: hashing does not hold Python's lock."""

    def work() -> None:
        data = bytes(MIB)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            hashlib.sha256(data)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def write(path: str, size: int) -> None:
    """Past the page cache where the file system can, since v1 counts no other writing."""
    piece = mmap.mmap(-1, MIB)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
        os.pwrite(fd, piece, 0)
    except OSError:
        fd = os.open(path, os.O_WRONLY)
    for number in range(size // MIB):
        os.pwrite(fd, piece, number * MIB)
        time.sleep(0.02)
    os.fsync(fd)
    os.close(fd)


def read(path: str) -> None:
    """Through the page cache, in which it stays."""
    with open(path, "rb", buffering=0) as file:
        while file.read(MIB):
            time.sleep(0.02)


def grow(size: int) -> None:
    """Memory in use, little by little."""
    held = []
    for _ in range(size // (2 * MIB)):
        held.append(b"x" * (2 * MIB))
        time.sleep(0.03)


time.sleep(0.4)
compute(2)
time.sleep(0.4)
with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
    write(file.name, 48 * MIB)
    read(file.name)
    time.sleep(0.4)
    grow(200 * MIB)
