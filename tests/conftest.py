"""Fixtures: cgroups and processes of a test's own, and the certainty that none is left."""

from __future__ import annotations

import ctypes
import inspect
import json
import mmap
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import psutil
import pytest

from cgroupkit import Cgroup, delegation, members, tree
from cgroupkit.errors import DelegationError, NotFoundError
from cgroupkit.hierarchy import ControllerInfo, host
from cgroupkit.tree import Branch

# Child processes import the installed package, which has the launcher, not the checkout.
os.environ["PYTHONSAFEPATH"] = "1"
# These machines are shared, and some are emulated: no example is too slow.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
# Under nohup and in the background these would be ignored by everything that the tests start, too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

PATIENCE = 120
"""Seconds; some of the machines that this runs on are emulated."""

RECORDED = Path(__file__).parent / "recorded"
NOBODY = 65534
CLONE_NEWNS, CLONE_NEWCGROUP = 0x20000, 0x2000000

_serial = count()


@pytest.fixture(scope="session")
def recorded() -> dict[int, dict[str, Any]]:
    """By cgroup version: every interface file of a fresh cgroup as a kernel printed it."""
    names = {1: "v1-6.1.json", 2: "v2-6.12.json"}
    return {version: json.loads((RECORDED / name).read_text()) for version, name in names.items()}


def wait_until(condition: Callable[[], object], why: str = "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, why or "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def too_deep() -> Iterator[int]:
    """A number of levels that Python's stack has no room for; a thousand are slow where emulated."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    yield 250
    sys.setrecursionlimit(usual)


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def needs() -> Callable[..., ControllerInfo]:
    """needs("memory", version=1): skip where this machine does not have it, and say why."""

    def check(controller: str, version: int | None = None) -> ControllerInfo:
        info = host().controllers[controller]
        if not info.available:
            pytest.skip(f"no {controller} controller: {info.reason}")
        if version and info.version != version:
            pytest.skip(f"{controller} is v{info.version} here, not v{version}")
        return info

    return check


@pytest.fixture
def needs_v2() -> None:
    """A v2 hierarchy with any controller that is bound to the no-internal-processes rule."""
    unified = host().unified
    if unified is None:
        pytest.skip("no v2 hierarchy is mounted")
    if not set(unified.controllers) - {"cpu", "cpuset", "pids"}:
        pytest.skip("the v2 hierarchy has no domain controller")


@pytest.fixture
def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("this takes root")


def _place() -> delegation.Place:
    try:
        return delegation.place()
    except (DelegationError, FileNotFoundError) as error:
        pytest.skip(f"no cgroups can be created here: {error}")


@pytest.fixture
def cgroup_name() -> Iterator[str]:
    """A name that nobody else has, relative to the place for cgroups; removed with all below."""
    name = f"test-{os.getpid()}-{next(_serial)}"
    found = (Branch.find(h, f"{top.rstrip('/')}/{name}") for h, top in _place().paths.items())
    branches = tuple(filter(None, found))

    def left() -> tuple[Branch, ...]:
        return tuple(branch for branch in branches if os.path.isdir(branch.directory))

    yield name
    with suppress(NotFoundError):
        if left():
            members.kill(left(), PATIENCE)
            tree.remove(left(), recursive=True)
    assert not left()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_where_engines_go() -> Iterator[None]:
    """What they make in named hierarchies, which ours are not in, nobody else removes."""
    tops = [h.directory("/cgroupkit") for h in host().hierarchies if h.name]
    absent = [top for top in tops if top and not os.path.isdir(top)]
    yield
    # With something inside it is that of tests that run at the same time.
    assert not [top for top in absent if os.path.isdir(top) and os.stat(top).st_nlink == 2]


@pytest.fixture
def cgroup(cgroup_name: str) -> Cgroup:
    return Cgroup.create(cgroup_name)


@pytest.fixture
def everywhere(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    """A cgroup with every controller: where systemd gives our scope only some, below the root."""
    unified = host().unified
    if os.geteuid() != 0 or unified is None or not os.path.isdir("/run/systemd/system"):
        yield request.getfixturevalue("cgroup")
        return
    made = Cgroup.create(f"/test-{os.getpid()}-{next(_serial)}")
    yield made
    if made.exists():
        made.kill(PATIENCE)
        made.remove(recursive=True)


@pytest.fixture(autouse=True)
def no_process_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("kernel") is None:
        yield
        return
    before = _living_children()
    yield
    wait_until(lambda: _living_children() <= before, f"left: {_living_children() - before}")


def _living_children() -> set[psutil.Process]:
    """Without what the scope of systemd's is held by, which is to stay."""
    found = set()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and "--hold" not in child.cmdline():
                found.add(child)
    return found


@pytest.fixture
def sleeper() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """sleeper(cgroup): a process that does nothing, inside."""
    started: list[subprocess.Popen[bytes]] = []

    def start(cgroup: Cgroup | None = None, *argv: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv or ("sleep", "1000"))
        started.append(process)
        if cgroup is not None:
            cgroup.attach(process.pid)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE)


class Child:
    """A fork of this process that runs *work* once :meth:`go` is called, and then waits."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._told, tell = os.pipe()
        listen, self._say = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._say)
            try:
                os.read(listen, 1)
                work()
                os.write(tell, b".")
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        os.close(tell)
        os.close(listen)
        self._ended = False

    def go(self) -> bool:
        """Let it work, and wait until that is done; whether it came to an end."""
        os.write(self._say, b".")
        return os.read(self._told, 1) == b"."

    def end(self) -> None:
        if self._ended:
            return
        self._ended = True
        for fd in (self._told, self._say):
            os.close(fd)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def forked() -> Iterator[Callable[[Callable[[], object]], Child]]:
    """forked(work): a :class:`Child`, ended after the test."""
    children: list[Child] = []

    def fork(work: Callable[[], object]) -> Child:
        children.append(Child(work))
        return children[-1]

    yield fork
    for child in children:
        child.end()


@pytest.fixture
def hog(forked: Callable[..., Child]) -> Callable[[Cgroup, int], Child]:
    """hog(cgroup, size): a process inside that holds that many bytes of anonymous memory."""

    def start(cgroup: Cgroup, size: int) -> Child:
        def work() -> None:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            for offset in range(0, size, mmap.PAGESIZE):
                memory[offset] = 1
            globals()["_kept"] = memory

        child = forked(work)
        cgroup.attach(child.pid)
        assert child.go()
        return child

    return start


@pytest.fixture
def in_child() -> Callable[..., Any]:
    """in_child(function): what it returns, or raises, when it is called in a fork."""
    return run_in_child


def run_in_child(work: Callable[[], Any]) -> Any:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _report(work, write)
    os.close(write)
    try:
        with open(read, "rb") as results:
            data = results.read()
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.waitpid(pid, 0)
    assert data, "the child died"
    kind, value = pickle.loads(data)
    if kind == "raised":
        raise value
    assert kind == "returned", value
    return value


def _report(work: Callable[[], Any], fd: int) -> NoReturn:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's is for the parent
    try:
        try:
            answer: tuple[str, Any] = ("returned", work())
        except Exception as error:
            answer = ("raised", error)
        try:
            data = pickle.dumps(answer)
            pickle.loads(data)
        except Exception:
            data = pickle.dumps(("not to be pickled", f"{answer}\n{traceback.format_exc()}"))
        with open(fd, "wb") as results:
            results.write(data)
    finally:
        os._exit(0)


@pytest.fixture
def refused_at_last() -> Callable[[Cgroup], dict[str, Any]]:
    """refused_at_last(cgroup): options that the kernel refuses, and that are written after others."""

    def options(cgroup: Cgroup) -> dict[str, Any]:
        for controller, file in {"pids": "pids.max", "hugetlb": "hugetlb.2MB.max"}.items():
            if host().controllers[controller].version == 2:
                return {"unified": {file: "nonsense"}}
        if host().controllers["net_prio"].available:
            return {"network_priorities": {"nowhere0": 1}}
        pytest.skip("nothing that is written last can be refused here")

    return options


@pytest.fixture
def loop(needs_root: None, tmp_path: Path) -> Iterator[Callable[[int], str]]:
    """loop(size): the path of a loop device over an empty file, detached afterwards."""
    made: list[str] = []

    def attach(size: int) -> str:
        file = tmp_path / f"disk{len(made)}"
        with file.open("wb") as image:
            image.truncate(size)
        done = subprocess.run(
            ["losetup", "--find", "--show", str(file)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no loop device can be set up: {done.stderr.strip()}")
        made.append(done.stdout.strip())
        return made[-1]

    yield attach
    for device in made:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def bfq_disk(loop: Callable[[int], str]) -> Iterator[str]:
    """The number of a loop device that uses the BFQ scheduler; its files come with that."""
    device = loop(1 << 20)
    scheduler = Path(f"/sys/block/{os.path.basename(device)}/queue/scheduler")
    try:
        scheduler.write_text("bfq")
    except OSError as error:
        pytest.skip(f"no BFQ here: {error.strerror}")
    yield Path(f"/sys/block/{os.path.basename(device)}/dev").read_text().strip()
    scheduler.write_text("none")


@pytest.fixture
def as_nobody(needs_root: None) -> Callable[..., Any]:
    """as_nobody(function): as in_child, by a user without any rights."""

    def run(work: Callable[[], Any]) -> Any:
        def demoted() -> Any:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            return work()

        return run_in_child(demoted)

    return run


@pytest.fixture
def unshare(needs_root: None) -> Callable[[int], None]:
    """unshare(flags), for a child: new namespaces, and mounts that nobody else sees."""

    def enter(flags: int = CLONE_NEWNS) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(flags) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        if flags & CLONE_NEWNS:
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)

    return enter
