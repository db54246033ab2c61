"""Run other programs: quietly when they work, with their last words when they do not."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# Whatever happens to us, the program does not stay behind.
TIED = ("setpriv", "--pdeathsig", "KILL", "--")
# Nor do its children and its mounts.
CONTAINED = (*TIED, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--")


class SetupError(Exception):
    """The tests cannot be run; the message says what to do."""


def run(
    *argv: str | Path,
    hint: str = "",
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> bytes:
    """Standard output of a program that must succeed."""
    try:
        done = subprocess.run(argv, cwd=cwd, input=stdin, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise SetupError(f"{argv[0]} is not installed (tests/run installs it)") from error
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").splitlines()[-25:]
        command = " ".join(map(str, argv))
        raise SetupError("\n".join([*said, f"{command}: status {done.returncode}", hint]).strip())
    return done.stdout


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is being done, and then how long it took."""
    print(f"== {title}", flush=True)
    start = time.monotonic()
    yield
    print(f"   {time.monotonic() - start:.1f} s", flush=True)
