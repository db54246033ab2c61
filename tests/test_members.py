"""The processes of a cgroup: moved in whole or not at all, frozen, killed whatever they do."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from cgroupkit import Cgroup, members
from cgroupkit.errors import (
    BusyError,
    CgroupKitError,
    FileError,
    FreezeTimeoutError,
    InvalidValueError,
    KillTimeoutError,
    ProcessGoneError,
    RejectedError,
    TopologyError,
    UnsupportedError,
)
from cgroupkit.hierarchy import host, paths_of

pytestmark = pytest.mark.kernel


def name_of(pid: int) -> str:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).name()
    return ""


def bomb() -> None:
    """Forks, and its children fork, as often as they may."""
    while True:
        with suppress(OSError):
            os.fork()


# Who is inside


@pytest.mark.rootless
def test_processes_are_listed(cgroup: Cgroup, sleeper: Any) -> None:
    assert (cgroup.procs, cgroup.threads, cgroup.processes()) == ([], [], [])
    pids = sorted(sleeper(cgroup).pid for _ in range(3))
    assert cgroup.procs == cgroup.threads == pids
    assert [process.pid for process in cgroup.processes()] == pids
    assert all(isinstance(process, psutil.Process) for process in cgroup.processes())
    assert cgroup.populated


def test_those_of_children_are_not(cgroup: Cgroup, sleeper: Any) -> None:
    process = sleeper(Cgroup.create(f"{cgroup.name}/inner"))
    assert cgroup.procs == []
    assert cgroup.populated
    assert members.everyone(cgroup.branches) == {process.pid}


def test_threads(cgroup: Cgroup, in_child: Any) -> None:
    def work() -> tuple[list[int], list[int], int]:
        thread_id: list[int] = []
        ready, done = threading.Event(), threading.Event()

        def run() -> None:
            thread_id.append(threading.get_native_id())
            ready.set()
            done.wait()

        thread = threading.Thread(target=run)
        thread.start()
        ready.wait()
        cgroup.attach(os.getpid())
        answer = cgroup.procs, cgroup.threads, thread_id[0]
        done.set()
        thread.join()
        return answer

    procs, threads, thread_id = in_child(work)
    assert len(procs) == 1
    assert threads == sorted([*procs, thread_id])


# Moving


def test_every_hierarchy_has_it_afterwards(cgroup: Cgroup, sleeper: Any) -> None:
    process = sleeper()
    cgroup.attach(process.pid)
    own = paths_of(process.pid)
    for branch in cgroup.branches:
        key = branch.hierarchy.controllers[0] if branch.version == 1 else ""
        assert own[key] == branch.path


@pytest.mark.parametrize("pid", [0, -1, True, "5", 2.0, None])
def test_a_bad_pid(cgroup: Cgroup, pid: Any) -> None:
    with pytest.raises(InvalidValueError, match="process number"):
        cgroup.attach(pid)


def test_a_process_that_is_gone(cgroup: Cgroup) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(ProcessGoneError, match=f"no process {process.pid}") as caught:
        cgroup.attach(process.pid)
    assert isinstance(caught.value, ProcessLookupError)


def test_if_one_hierarchy_refuses_the_others_are_taken_back(
    cgroup: Cgroup, needs: Any, sleeper: Any
) -> None:
    """An empty v1 cpuset takes nobody; others come before it."""
    needs("cpuset", version=1)
    if cgroup.branches[0] == cgroup.branch("cpuset"):
        pytest.skip("cpuset is the first hierarchy here")
    for file in ("cpus", "mems"):
        Path(f"{cgroup.path('cpuset')}/cpuset.{file}").write_text("\n")
    process = sleeper()
    before = paths_of(process.pid)
    with pytest.raises(RejectedError, match=r"give cpuset.cpus and cpuset.mems") as caught:
        cgroup.attach(process.pid)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.value == str(process.pid)
    assert paths_of(process.pid) == before


def test_one_thread_on_v1(cgroup: Cgroup, in_child: Any) -> None:
    v1 = tuple(branch for branch in cgroup.branches if branch.version == 1)
    if not v1:
        pytest.skip("on v2 threads move within their own domain only")

    def work() -> tuple[list[int], int]:
        found: list[Any] = []

        def run() -> None:
            Cgroup.at(v1).attach(threading.get_native_id(), thread=True)
            found.extend((Cgroup.at(v1).threads, threading.get_native_id()))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found[0], found[1]

    threads, thread_id = in_child(work)
    assert threads == [thread_id]


def test_one_thread_of_another_domain_is_refused_on_v2(cgroup: Cgroup, sleeper: Any) -> None:
    if cgroup.branches[0].version == 1:
        pytest.skip("v1 moves threads freely")
    process = sleeper()
    before = paths_of(process.pid)
    with pytest.raises(UnsupportedError, match="resource domain") as caught:
        cgroup.attach(process.pid, thread=True)
    assert isinstance(caught.value, FileError)
    assert paths_of(process.pid) == before


# No internal processes


def test_the_rule_is_explained_and_vacate_helps(cgroup: Cgroup, needs_v2: None, sleeper: Any) -> None:
    processes = [sleeper(cgroup) for _ in range(3)]
    with pytest.raises(
        TopologyError, match=r"either processes .* or controllers .*vacate\(\)"
    ) as caught:
        Cgroup.create(f"{cgroup.name}/inner")
    assert isinstance(caught.value, BusyError)
    assert cgroup.children() == []
    leaf = cgroup.vacate("mine")
    pids = sorted(process.pid for process in processes)
    assert leaf.procs == pids
    assert leaf.name == f"{cgroup.name}/mine"
    inner = Cgroup.create(f"{cgroup.name}/inner")
    with pytest.raises(BusyError, match="vacate"):
        cgroup.attach(pids[0])
    assert leaf.procs == pids
    inner.attach(pids[0])
    assert inner.procs == [pids[0]]
    cgroup.vacate("mine")


@pytest.mark.parametrize("leaf", ["", "..", "a/b", "/a", "a\n", "."])
def test_the_leaf_is_one_name(cgroup: Cgroup, needs_v2: None, leaf: str) -> None:
    with pytest.raises(InvalidValueError):
        cgroup.vacate(leaf)
    assert cgroup.children() == []


def test_where_there_is_nothing_to_vacate(cgroup: Cgroup) -> None:
    if host().unified is None:
        with pytest.raises(UnsupportedError, match="v1 has no rule"):
            cgroup.vacate()
    with pytest.raises(UnsupportedError, match=r"v1 has no rule|root cgroup is exempt"):
        Cgroup("/").vacate()


# Freezing


def stopped(pid: int) -> bool:
    """It gets no CPU time."""
    before = psutil.Process(pid).cpu_times()
    for _ in range(20_000):
        os.getpid()
    return psutil.Process(pid).cpu_times() == before


@pytest.mark.rootless
def test_freeze_and_thaw(cgroup: Cgroup, sleeper: Any, eventually: Any) -> None:
    busy = sleeper(cgroup, "sh", "-c", "while :; do :; done")
    assert not cgroup.frozen
    cgroup.freeze(120)
    assert cgroup.frozen
    eventually(lambda: stopped(busy.pid))  # what it had used may be accounted for late
    cgroup.freeze(120)
    cgroup.thaw()
    eventually(lambda: not cgroup.frozen)
    eventually(lambda: not stopped(busy.pid))
    cgroup.thaw()


def test_the_whole_subtree_freezes(cgroup: Cgroup, sleeper: Any) -> None:
    inner = Cgroup.create(f"{cgroup.name}/a/b")
    sleeper(inner)
    cgroup.freeze(120)
    assert inner.frozen
    inner.thaw()  # its own setting; the ancestor's still holds
    assert inner.frozen
    cgroup.thaw()
    assert not cgroup.frozen


def test_an_empty_one_freezes(cgroup: Cgroup, sleeper: Any, eventually: Any) -> None:
    cgroup.freeze(120)
    assert cgroup.frozen
    process = sleeper(cgroup)
    cgroup.freeze(120)
    eventually(lambda: stopped(process.pid))
    cgroup.thaw()


def test_a_freeze_that_takes_too_long_is_taken_back(
    cgroup: Cgroup, sleeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper(cgroup)
    real, asked = members.frozen, []

    def never(branches: members.Branches) -> bool:
        asked.append(branches)
        return False

    monkeypatch.setattr(members, "frozen", never)
    with pytest.raises(
        FreezeTimeoutError, match=r"not frozen within 0.1 s and has been thawed"
    ) as caught:
        cgroup.freeze(0.1)
    assert isinstance(caught.value, TimeoutError)
    assert asked
    assert not real(cgroup.branches)


# Killing


def stopped_ones(cgroup: Cgroup, sleeper: Any) -> None:
    for number in (signal.SIGSTOP, signal.SIGTSTP):
        sleeper(cgroup).send_signal(number)


def deaf_ones(cgroup: Cgroup, sleeper: Any) -> None:
    sleeper(cgroup, "sh", "-c", "trap '' TERM HUP INT QUIT; exec sleep 1000")


def frozen_ones(cgroup: Cgroup, sleeper: Any) -> None:
    sleeper(cgroup)
    cgroup.freeze(120)


def nested_ones(cgroup: Cgroup, sleeper: Any) -> None:
    for name in ("a/b/c", "a/d"):
        sleeper(Cgroup.create(f"{cgroup.name}/{name}"))


def nested_frozen_ones(cgroup: Cgroup, sleeper: Any) -> None:
    nested_ones(cgroup, sleeper)
    Cgroup(f"{cgroup.name}/a/b/c").freeze(120)
    Cgroup(f"{cgroup.name}/a").freeze(120)


def nobody(cgroup: Cgroup, sleeper: Any) -> None:
    pass


@pytest.mark.parametrize(
    "fill",
    [stopped_ones, deaf_ones, frozen_ones, nested_ones, nested_frozen_ones, nobody],
    ids=lambda fill: fill.__name__,
)
def test_kill(cgroup: Cgroup, sleeper: Any, fill: Callable[..., None]) -> None:
    fill(cgroup, sleeper)
    cgroup.kill(120)
    assert not cgroup.populated
    assert [found for found in cgroup.walk() if found.procs] == []
    cgroup.remove(recursive=True)


def test_kill_sessions(cgroup: Cgroup, eventually: Any) -> None:
    """Daemons, which no process group or parent would find."""
    script = "(setsid sleep 1000 &) ; (setsid sh -c '(setsid sleep 1000 &) ; sleep 1000' &)"
    process = subprocess.Popen(
        ["sh", "-c", f"read _; {script}; exec sleep 1000"], stdin=subprocess.PIPE
    )
    cgroup.attach(process.pid)
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(b"\n")
    eventually(lambda: [name_of(pid) for pid in cgroup.procs].count("sleep") == 4)
    cgroup.kill(120)
    assert cgroup.procs == []
    assert process.wait(120) == -signal.SIGKILL


def test_kill_a_fork_bomb(cgroup: Cgroup, needs: Any, forked: Any, eventually: Any) -> None:
    needs("pids")
    cgroup.pids.max = 24
    child = forked(bomb)
    cgroup.attach(child.pid)
    os.write(child._say, b".")
    eventually(lambda: cgroup.pids.current == 24)
    cgroup.kill(120)
    assert cgroup.procs == []
    assert not cgroup.populated


def test_kill_without_cgroup_kill(
    cgroup: Cgroup, needs: Any, forked: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 5.14: by their numbers, again and again."""
    needs("pids")
    cgroup.pids.max = 16
    child = forked(bomb)
    cgroup.attach(child.pid)
    os.write(child._say, b".")
    eventually(lambda: cgroup.pids.current == 16)
    monkeypatch.setattr(members, "_kill_v2", lambda *_: None)
    cgroup.kill(120)
    assert cgroup.procs == []


def test_a_process_that_survives(cgroup: Cgroup, sleeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper(cgroup)
    monkeypatch.setattr(members, "_kill_v2", lambda *_: None)
    monkeypatch.setattr(members.os, "kill", lambda *_: None)
    with pytest.raises(
        KillTimeoutError, match=r"1 processes .* outlived SIGKILL for 0.1 s .*state D"
    ) as caught:
        cgroup.kill(0.1)
    assert isinstance(caught.value, TimeoutError)
    assert not cgroup.frozen


def test_below_a_frozen_one_v1_cannot_kill(cgroup: Cgroup, needs: Any, sleeper: Any) -> None:
    needs("freezer", version=1)
    inner = Cgroup.create(f"{cgroup.name}/inner")
    process = sleeper(inner)
    cgroup.freeze(120)
    with pytest.raises(BusyError, match="thaw that one first"):
        inner.kill(1)
    assert process.poll() is None
    cgroup.thaw()
    inner.kill(120)


# Ourselves


@pytest.mark.parametrize("act", ["freeze", "kill"])
@pytest.mark.parametrize("depth", ["", "/a/b"])
def test_our_own_cgroup_is_refused(cgroup: Cgroup, in_child: Any, act: str, depth: str) -> None:
    def work() -> None:
        Cgroup.create(f"{cgroup.name}{depth}", exist_ok=True).attach(os.getpid())
        getattr(cgroup, act)()

    with pytest.raises(InvalidValueError, match=rf"refusing to {act} .*the calling process is inside"):
        in_child(work)
    assert not cgroup.frozen


@pytest.mark.parametrize("act", ["freeze", "kill"])
def test_being_inside_in_one_hierarchy_is_enough(cgroup: Cgroup, in_child: Any, act: str) -> None:
    """In v1's freezer alone: freezing would stop us, and killing takes whoever is in any."""
    branch = members.freezer_of(cgroup.branches)

    def work() -> None:
        Cgroup.at((branch,)).attach(os.getpid())
        getattr(cgroup, act)()

    with pytest.raises(InvalidValueError, match="the calling process is inside"):
        in_child(work)


def test_a_sibling_with_a_longer_name_is_not_ourselves(cgroup: Cgroup, in_child: Any) -> None:
    longer = Cgroup.create(f"{cgroup.name}/ab")
    shorter = Cgroup.create(f"{cgroup.name}/a")

    def work() -> None:
        longer.attach(os.getpid())
        shorter.kill()
        shorter.freeze(120)
        shorter.thaw()

    in_child(work)


def test_our_errors_are_one_tree() -> None:
    for kind in (BusyError, FreezeTimeoutError, KillTimeoutError, ProcessGoneError):
        assert issubclass(kind, CgroupKitError)


def test_kill_ends_a_threaded_cgroup_too(cgroup_name: str) -> None:
    unified = host().unified
    if unified is None:
        pytest.skip("there is no v2 hierarchy")
    parent = Cgroup.create(cgroup_name)
    directory = parent.branches[0].directory
    with open(f"{directory}/cgroup.subtree_control", "w", encoding="ascii") as control:
        control.write(" ".join(f"-{name}" for name in parent.core.subtree_control) or "\n")
    inner = Path(directory, "inner")
    inner.mkdir()
    process = subprocess.Popen(["sleep", "1000"])
    try:
        (inner / "cgroup.type").write_text("threaded")
        Path(directory, "cgroup.procs").write_text(str(process.pid))
        (inner / "cgroup.threads").write_text(str(process.pid))
        (threaded,) = parent.children()
        threaded.kill()
        assert process.wait(60) == -9
    finally:
        process.kill()
        process.wait()
