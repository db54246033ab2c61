"""The checks that need no other kernel: the package installed, linted, typed and tested here."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

from .matrix import TIMED_OUT, Row, read_row
from .tools import CHECKOUT, run, step

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
# Interrupted, pytest still cleans up and writes its results.
INTERRUPTED = ("setpriv", "--pdeathsig", "INT", "--")
GRACE = 20
DEPENDENCY_GROUPS = (25, 1)  # the first pip that installs them


def install(directory: Path) -> Path:
    """Install the checkout, built afresh, and its dependencies; the wheel, in the directory."""
    with step("installing cgroupkit and its dependencies"):
        version = run(*PIP, "--version").split()[1].decode().split(".")
        if tuple(int(part) for part in version[:2]) < DEPENDENCY_GROUPS:
            run(*PIP, "install", "--quiet", "--upgrade", "pip", hint="Check the network.")
        run(*PIP, "wheel", "--no-deps", "--wheel-dir", directory, CHECKOUT)
        (wheel,) = directory.glob("*.whl")
        groups = ("--group", f"{CHECKOUT}/pyproject.toml:dev")
        run(*PIP, "install", wheel, *groups, hint="Check the network.")
        # The version is the same as on the run before, the contents are not.
        run(*PIP, "install", "--no-deps", "--force-reinstall", wheel)
    return wheel


def check(results: Path, pytest_arguments: list[str], limit: float) -> list[Row]:
    """Rows of ruff and of mypy if they complain, and of pytest."""
    rows = []
    for name, arguments in {"ruff": ["check"], "mypy": []}.items():
        with step(" ".join([name, *arguments])):
            start = time.monotonic()
            if status := _call(name, *arguments):
                seconds = time.monotonic() - start
                rows.append(Row(name, seconds=seconds, problem=f"ended with status {status}"))
    kernel = f"native {platform.release()}"
    results.mkdir()
    with step(f"pytest, {kernel}"):
        # A test that hangs says where, long before the limit.
        arguments = ["-o", "faulthandler_timeout=120", *pytest_arguments]
        status = _call("pytest", *arguments, f"--junitxml={results}/native.xml", limit=limit)
        (results / "native.status").write_text(f"{status}\n")
    return [*rows, read_row(kernel, results, "native", bool(pytest_arguments))]


def _call(program: str, *arguments: str, limit: float | None = None) -> int:
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        # The installed package is what is tested: the checkout's has no launcher.
        "PYTHONSAFEPATH": "1",
    }
    with subprocess.Popen(
        [*INTERRUPTED, programs / program, *arguments],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
    ) as process:
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
    return TIMED_OUT
