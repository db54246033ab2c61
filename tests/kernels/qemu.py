"""Boot a guest, let it be heard, and take its results off the disk that it wrote them to."""

import asyncio
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .guests import Guest
from .images import Image
from .tools import TIED

MIB = 1 << 20
TAIL_LINES = 50
# Twice what a test has: who says nothing for so long stands still, its own alarms included.
SILENCE = 600
# From the console to QEMU's monitor, and its command: the kernel panics, and says where it was.
INTERRUPT = b"\x01cnmi\n"
LAST_WORDS = 30


@dataclass(frozen=True)
class Ended:
    results: Path
    """A directory with <row>.xml and <row>.status of each row that was completed."""
    problem: str | None
    """Why the guest did not end by itself."""
    tail: list[str]
    """The last lines of its console."""


async def all_of(boots: Iterable[Awaitable[Ended]], at_once: int) -> list[Ended]:
    free = asyncio.Semaphore(at_once)

    async def one(boot: Awaitable[Ended]) -> Ended:
        async with free:
            return await boot

    return await asyncio.gather(*map(one, boots))


async def boot(guest: Guest, image: Image, payload: Path, results: Path, timeout: float) -> Ended:
    results.mkdir()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=payload.parent) as name:
        disks = Path(name)
        command = _command(guest, image, payload, disks, timeout)
        problem, tail = await _watch(guest.name, command, timeout)
        try:
            with tarfile.open(disks / "results", "r:") as archive:
                for member in archive:
                    if (content := archive.extractfile(member)) is not None:
                        (results / Path(member.name).name).write_bytes(content.read())
        except tarfile.ReadError:
            problem = problem or "ended without results"
    took = f"{time.monotonic() - start:.1f} s"
    print(f"{guest.name} | {problem or 'ended'} ({took})", flush=True)
    return Ended(results, problem, tail)


def _command(guest: Guest, image: Image, payload: Path, disks: Path, timeout: float) -> list[str]:
    blank = {"spare": 256 * MIB, "results": 64 * MIB, "swap": 512 * MIB}
    for name, size in blank.items():
        with (disks / name).open("wb") as file:
            file.truncate(size)
    # In the order of their names in the guest, from vda on.
    kept = (f"{image.root},snapshot=on", f"{disks / 'spare'}", f"{payload},snapshot=on")
    drives = [*kept, f"{disks / 'results'}", f"{disks / 'swap'}"]
    # no_timer_check: on a busy machine the clock of a guest that boots may not tick when that is tried.
    append = (
        "console=ttyS0 quiet loglevel=3 panic=-1 unknown_nmi_panic no_timer_check mitigations=off"
        f" hugepages=8 psi=1 systemd.show_status=false guest.boot={guest.boot}"
        f" guest.rows={','.join(guest.rows)} guest.timeout={timeout:.0f} {guest.append}"
    )
    # Not thread=multi: there QEMU 7.2 can miss that the kernel patches its code (as it does whenever
    # the first v1 cgroup freezes), and a CPU then takes a trap for ever that is not there any more.
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2"]
    command += ["-m", "2048", "-nodefaults", "-display", "none", "-serial", "mon:stdio", "-no-reboot"]
    command += ["-kernel", f"{image.kernel(guest.kernel)}", "-append", append]
    command += ["-initrd", f"{image.initramfs(guest.kernel)}"]
    for drive in drives:
        # Unsafe: what the guest flushes need not survive a power failure here.
        command += ["-drive", f"if=virtio,format=raw,cache=unsafe,file={drive}"]
    return command


async def _watch(name: str, command: list[str], timeout: float) -> tuple[str | None, list[str]]:
    """Pass the console on until the guest ends; why it had to be ended, and the last lines."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    def say(line: bytes) -> None:
        # What a carriage return overwrites would not be seen on a terminal either.
        text = line.decode(errors="replace").rstrip().rsplit("\r", 1)[-1]
        tail.append(text)
        print(f"{name} | {text}", flush=True)

    qemu = await asyncio.create_subprocess_exec(
        *TIED,
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert qemu.stdin is not None and qemu.stdout is not None
    try:
        if problem := await _listen(qemu.stdout, say, timeout):
            qemu.stdin.write(INTERRUPT)
            await _listen(qemu.stdout, say, LAST_WORDS)
            return problem, list(tail)
        status = await qemu.wait()
    finally:
        if qemu.returncode is None:
            qemu.kill()
            await qemu.wait()
    return (f"QEMU ended with status {status}" if status else None), list(tail)


async def _listen(
    console: asyncio.StreamReader, say: Callable[[bytes], None], timeout: float
) -> str | None:
    """Pass lines on until there are no more; why no more was waited for."""
    end = time.monotonic() + timeout
    rest = b""
    try:
        while True:
            patience = min(SILENCE, end - time.monotonic())
            try:
                # Not readline(): a dot for each test is a sign of life too.
                said = await asyncio.wait_for(console.read(MIB), patience)
            except TimeoutError:
                if patience == SILENCE:
                    return f"said nothing for {SILENCE} s"
                return f"did not end within {timeout:.0f} s"
            if not said:
                return None
            *lines, rest = (rest + said).split(b"\n")
            for line in lines:
                say(line)
    finally:
        if rest:
            say(rest)
