"""Events: each is told once, with its cgroup and count, to threads and to asyncio; nothing spins."""

from __future__ import annotations

import asyncio
import gc
import json
import mmap
import os
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup, members
from cgroupkit.cli import main
from cgroupkit.errors import (
    AccessError,
    FileError,
    InvalidValueError,
    NotFoundError,
    RejectedError,
    UnsupportedError,
)
from cgroupkit.events import (
    Event,
    EventKind,
    Watch,
    memory_level,
    memory_usage,
    oom,
    pressure,
    turns,
    watch,
)
from cgroupkit.events.psi import parse_trigger
from cgroupkit.events.subjects import Subject
from cgroupkit.hierarchy import host

PATIENCE = 120
LIMIT = 16 << 20


def descriptors() -> dict[str, str]:
    gc.collect()
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return {fd: what for fd, what in found.items() if not what.endswith("/fd")}


@pytest.fixture(autouse=True)
def no_descriptor_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = descriptors()
    yield
    if "forked" not in request.fixturenames:  # its pipes are closed later
        assert descriptors() == before


def until(watched: Watch, enough: Callable[[list[Event]], object]) -> list[Event]:
    """What comes until it is enough."""
    found: list[Event] = []
    deadline = time.monotonic() + PATIENCE
    while not enough(found):
        found += watched.wait(5)
        assert time.monotonic() < deadline, found
    return found


def counted(events: list[Event], kind: str, cgroup: Cgroup | None = None) -> int:
    return sum(e.count for e in events if e.kind == kind and cgroup in (None, e.cgroup))


def kinds(events: list[Event]) -> list[str]:
    return [str(event.kind) for event in events]


def limit(cgroup: Cgroup) -> None:
    cgroup.update(memory=LIMIT)
    with suppress(UnsupportedError, FileError):
        cgroup.update(memory=LIMIT, memory_swap=LIMIT)


@pytest.fixture
def bomb(forked: Any, needs: Any) -> Callable[[Cgroup], None]:
    """bomb(cgroup): a process inside that takes more memory than it may."""
    needs("memory")

    def explode(cgroup: Cgroup) -> None:
        def work() -> None:
            memory = mmap.mmap(-1, 8 * LIMIT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            for offset in range(0, len(memory), mmap.PAGESIZE):
                memory[offset] = 1

        child = forked(work)
        cgroup.attach(child.pid)
        assert not child.go()
        child.end()

    return explode


@pytest.fixture
def refused(forked: Any, needs: Any) -> Callable[[Cgroup, int], Any]:
    """refused(cgroup, n): a process inside that tries to start n others, of which none is allowed."""
    needs("pids")

    def start(cgroup: Cgroup, number: int) -> Any:
        def work() -> None:
            for _ in range(number):
                with suppress(OSError):  # vfork(2): no page table is copied first
                    os.posix_spawn("/bin/true", ["true"], {})

        child = forked(work)
        cgroup.attach(child.pid)
        cgroup.pids.max = 1
        return child

    return start


# Memory


@pytest.mark.kernel
def test_an_oom_kill(cgroup: Cgroup, bomb: Any) -> None:
    limit(cgroup)
    with watch(cgroup, EventKind.OOM_KILL) as watched:
        assert watched.wait(0) == []
        before = time.monotonic_ns()
        bomb(cgroup)
        (event,) = until(watched, len)
        assert (event.kind, event.cgroup, event.count) == ("oom_kill", cgroup, 1)
        assert before <= event.time <= time.monotonic_ns()
        bomb(cgroup)
        bomb(cgroup)
        events = until(watched, lambda found: counted(found, "oom_kill") >= 2)
        assert counted(events, "oom_kill", cgroup) == 2
        assert watched.wait(0) == []


@pytest.mark.kernel
def test_what_came_before_is_not_told(cgroup: Cgroup, bomb: Any, eventually: Any) -> None:
    limit(cgroup)
    bomb(cgroup)
    eventually(lambda: cgroup.memory.events.oom_kill == 1)
    with watch(cgroup, "oom_kill") as watched:
        assert watched.wait(0.1) == []


@pytest.mark.kernel
def test_limits_that_are_hit(cgroup: Cgroup, bomb: Any) -> None:
    cgroup.update(memory=LIMIT)
    with suppress(UnsupportedError, FileError):  # v1 counts in memory.memsw.failcnt if that is as low
        cgroup.update(memory=LIMIT, memory_swap=2 * LIMIT)
    with watch(cgroup, "oom_kill", "oom", "memory_max") as watched:
        bomb(cgroup)
        events = until(watched, lambda found: set(kinds(found)) == {"oom_kill", "oom", "memory_max"})
    assert all(event.cgroup == cgroup for event in events)
    assert counted(events, "memory_max") >= counted(events, "oom") >= 1


@pytest.mark.kernel
def test_memory_high(cgroup: Cgroup, needs: Any, forked: Any) -> None:
    if needs("memory").version == 1:
        with pytest.raises(UnsupportedError, match=r"no memory.high.*memory_usage"):
            watch(cgroup, "memory_high")
        return

    def work() -> None:
        memory = mmap.mmap(-1, 2 * LIMIT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for offset in range(0, len(memory), mmap.PAGESIZE):
            memory[offset] = 1

    cgroup.memory.high = LIMIT
    child = forked(work)
    cgroup.attach(child.pid)
    with watch(cgroup, "memory_high") as watched:
        os.write(child._say, b".")
        events = until(watched, len)
    assert counted(events, "memory_high", cgroup) >= 1


@pytest.mark.kernel
def test_the_cgroup_below_is_named(cgroup: Cgroup, bomb: Any) -> None:
    first, second = (Cgroup.create(f"{cgroup.name}/{name}/leaf") for name in "ab")
    limit(cgroup)
    with watch(cgroup, "oom_kill") as watched, watch(cgroup, "oom_kill", recursive=False) as own:
        bomb(first)
        bomb(second)
        bomb(second)
        later = Cgroup.create(f"{cgroup.name}/later")
        bomb(later)
        events = until(watched, lambda found: counted(found, "oom_kill") >= 4)
        assert [counted(events, "oom_kill", place) for place in (first, second, later)] == [1, 2, 1]
        assert own.wait(0) == []


@pytest.mark.kernel
def test_of_one_that_was_removed_the_sum_tells(cgroup: Cgroup, needs: Any, bomb: Any) -> None:
    needs("memory", version=2)
    inner = Cgroup.create(f"{cgroup.name}/inner")
    limit(cgroup)
    with watch(cgroup, "oom_kill") as watched:
        bomb(inner)
        inner.kill(PATIENCE)
        inner.remove()
        events = until(watched, len)
        assert [(e.cgroup, e.count) for e in events] == [(cgroup, 1)]
        again = Cgroup.create(f"{cgroup.name}/inner")
        bomb(again)
        events = until(watched, len)
        assert [(e.cgroup, e.count) for e in events] == [(again, 1)]


@pytest.mark.kernel
def test_without_an_oom_killer_one_is_told_that_it_waits(
    cgroup: Cgroup, needs: Any, forked: Any
) -> None:
    needs("memory", version=1)
    limit(cgroup)
    cgroup.memory.oom_kill_disable = True

    def work() -> None:
        memory = mmap.mmap(-1, 2 * LIMIT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for offset in range(0, len(memory), mmap.PAGESIZE):
            memory[offset] = 1

    child = forked(work)
    cgroup.attach(child.pid)
    with watch(cgroup, "oom", "oom_kill") as watched:
        os.write(child._say, b".")
        events = until(watched, len)
        assert set(kinds(events)) == {"oom"}
        assert cgroup.memory.oom_control.under_oom == 1
        with watch(cgroup, "oom") as late:
            assert kinds(until(late, len)) == ["oom"]  # v1 tells it at once
        child.end()
        assert "oom_kill" not in kinds(watched.wait(0))


@pytest.mark.kernel
def test_only_who_is_at_its_limit(cgroup: Cgroup, bomb: Any) -> None:
    """v1 signals those below, too."""
    inner = Cgroup.create(f"{cgroup.name}/inner")
    limit(cgroup)
    with watch(cgroup, "oom") as watched:
        bomb(inner)
        events = until(watched, len) + watched.wait(1)
        assert {(str(e.kind), e.cgroup) for e in events} == {("oom", cgroup)}


@pytest.mark.kernel
def test_at_its_limit_and_gone_on_v1(cgroup: Cgroup, needs: Any, bomb: Any, eventually: Any) -> None:
    """The count of the killed is gone with it, the signal is not."""
    needs("memory", version=1)
    limit(cgroup)
    with watch(cgroup, "oom", "oom_kill", "removed") as watched:
        bomb(cgroup)
        cgroup.kill(PATIENCE)
        cgroup.remove()
        (bell,) = watched._polling._by_fd
        eventually(lambda: rings(bell) >= 2)  # the removal some time later, when RCU has let it go
        events = list(watched)
        assert kinds(events) == ["oom", "removed"]
        assert {event.cgroup for event in events} == {cgroup}


def rings(fd: int) -> int:
    """What an eventfd has counted, without taking it."""
    text = Path(f"/proc/self/fdinfo/{fd}").read_text()
    return int(text.partition("eventfd-count:")[2].split()[0], 16)


@pytest.mark.kernel
def test_of_one_below_that_is_gone_the_signal_tells(
    cgroup: Cgroup, needs: Any, bomb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("memory", version=1)
    with watch(cgroup, "oom", "oom_kill") as watched:
        inner = Cgroup.create(f"{cgroup.name}/inner")
        quiet = Cgroup.create(f"{cgroup.name}/quiet")
        limit(inner)
        assert watched.wait(0) == []
        bomb(inner)
        for one in (inner, quiet):
            one.kill(PATIENCE)
            one.remove()
        with monkeypatch.context() as patient:
            patient.setattr(oom, "_LEAVING", PATIENCE)
            events = until(watched, len)
        monkeypatch.setattr(oom, "_LEAVING", 1.0)
        deadline = time.monotonic() + PATIENCE
        while len(watched._polling._by_fd) > 1 and time.monotonic() < deadline:
            events += watched.wait(1)
        assert set(kinds(events)) == {"oom"}
        assert {event.cgroup and event.cgroup.name for event in events} == {inner.name}
        assert len(watched._polling._by_fd) == 1  # the eventfds of both are closed


@pytest.mark.kernel
def test_those_that_are_gone_make_room_for_those_that_come(
    cgroup: Cgroup, needs: Any, bomb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("memory", version=1)
    monkeypatch.setattr(oom, "_LEAVING", PATIENCE)
    monkeypatch.setattr(oom, "_SHARE", resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3)
    with watch(cgroup, "oom") as watched:
        for pause in (0, 1, 0):  # in a second, most probably, the removal has been signalled
            made = [Cgroup.create(f"{cgroup.name}/{secrets.token_hex(4)}") for _ in range(2)]
            watched.wait(0)
            assert len(watched._polling._by_fd) == 3
            limit(made[1])
            bomb(made[1])
            until(watched, lambda found: made[1] in {event.cgroup for event in found})  # noqa: B023
            for one in made:
                one.kill(PATIENCE)
                one.remove()
            watched.wait(0)
            time.sleep(pause)


@pytest.mark.kernel
def test_a_threshold_is_crossed_up_and_down(cgroup: Cgroup, needs: Any, hog: Any) -> None:
    if needs("memory").version == 2:
        with pytest.raises(UnsupportedError, match="no usage thresholds"):
            memory_usage(cgroup, "8M")
        return
    with memory_usage(cgroup, "8M") as watched:
        child = hog(cgroup, LIMIT)
        (event,) = until(watched, len)
        assert (event.kind, event.cgroup, event.detail) == ("memory_usage", cgroup, "8MiB")
        child.end()
        assert kinds(until(watched, len)) == ["memory_usage"]


@pytest.mark.kernel
def test_levels_of_reclaim(cgroup: Cgroup, needs: Any, forked: Any, tmp_path: Path) -> None:
    if needs("memory").version == 2:
        with pytest.raises(UnsupportedError, match=r"no memory.pressure_level.*pressure"):
            memory_level(cgroup, "low")
        return
    limit(cgroup)

    def work() -> None:
        with (tmp_path / "file").open("wb") as file:
            for _ in range(8 * LIMIT >> 20):
                file.write(bytes(1 << 20))
                os.fsync(file.fileno())

    child = forked(work)
    cgroup.attach(child.pid)
    with memory_level(cgroup, "low", scope="local") as watched:
        os.write(child._say, b".")
        event = until(watched, len)[0]
        assert (event.kind, event.cgroup, event.detail) == ("memory_level", cgroup, "low,local")
    for bad in ({"level": "high"}, {"level": "low", "scope": "all"}):
        with pytest.raises(InvalidValueError, match="give"):
            memory_level(cgroup, **bad)


@pytest.mark.kernel
@pytest.mark.parametrize("threshold", [None, "much", -5, 1.5])
def test_a_bad_threshold(cgroup: Cgroup, threshold: Any) -> None:
    with pytest.raises(InvalidValueError, match="threshold="):
        memory_usage(cgroup, threshold)


@pytest.mark.kernel
def test_a_removal_is_no_signal(cgroup: Cgroup, needs: Any) -> None:
    """v1 signals each eventfd then."""
    needs("memory", version=1)
    with Watch(interval=0.05) as watched:
        watched.add(cgroup, "oom", "oom_kill", "removed")
        watched.add_memory_usage(cgroup, "8M")
        cgroup.remove()
        assert kinds(list(watched)) == ["removed"]


# Tasks


@pytest.mark.kernel
def test_refused_forks(cgroup: Cgroup, refused: Any) -> None:
    with watch(cgroup, "pids_max") as watched:
        assert refused(cgroup, 3).go()
        events = until(watched, lambda found: counted(found, "pids_max") >= 3)
    assert counted(events, "pids_max", cgroup) == 3


@pytest.mark.kernel
def test_of_thousands_none_is_lost(cgroup: Cgroup, refused: Any) -> None:
    """And several readers share them."""
    inner = Cgroup.create(f"{cgroup.name}/inner")
    found: list[Event] = []
    with watch(cgroup, "pids_max") as watched:

        def read() -> None:
            found.extend(watched)

        readers = [threading.Thread(target=read) for _ in range(3)]
        child = refused(inner, 2000)
        for reader in readers:
            reader.start()
        assert child.go()
        deadline = time.monotonic() + PATIENCE
        while counted(found, "pids_max") < 2000 and time.monotonic() < deadline:
            time.sleep(0.01)
        watched.close()
        for reader in readers:
            reader.join(PATIENCE)
    assert counted(found, "pids_max", inner) == 2000


@pytest.mark.kernel
def test_old_counts_are_no_news(cgroup: Cgroup, refused: Any, in_child: Any) -> None:
    """Not even when descriptors ran out meanwhile; and the watch goes on."""
    inner, other = (Cgroup.create(f"{cgroup.name}/{name}") for name in ("inner", "other"))
    assert refused(inner, 3).go()

    def work() -> tuple[list[str], str, list[str]]:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 50, hard))
        with watch([cgroup, other]) as watched:
            found = watched.wait(0)
            hoard = []
            with suppress(OSError):
                while True:
                    hoard.append(os.open("/dev/null", os.O_RDONLY))
            found += watched.wait(0) + watched.wait(1)
            with pytest.raises(FileError) as caught:
                members.everyone(cgroup.branches)
            for fd in hoard:
                os.close(fd)
            found += watched.wait(0) + watched.wait(1)
            other.remove()
            return kinds(found), str(caught.value), kinds(until(watched, len))

    before, message, after = in_child(work)
    assert (before, after) == ([], ["removed"])
    assert "raise RLIMIT_NOFILE" in message


@pytest.mark.kernel
def test_renamed_is_not_new(cgroup: Cgroup, needs: Any, refused: Any) -> None:
    needs("pids", version=1)
    inner = Cgroup.create(f"{cgroup.name}/inner")
    assert refused(inner, 3).go()
    with watch(cgroup, "pids_max") as watched:
        os.rename(inner.path("pids"), inner.path("pids") + "-2")
        try:
            assert watched.wait(0) == []
        finally:
            os.rename(inner.path("pids") + "-2", inner.path("pids"))


@pytest.mark.kernel
def test_a_deep_tree(cgroup: Cgroup, too_deep: int) -> None:
    """Deeper than Python would call itself."""
    branch = cgroup.branch("pids")
    for level in range(1, too_deep + 1):
        os.mkdir(branch.directory + "/d" * level)
    with watch(cgroup) as watched:
        assert watched.wait(0) == []
        assert not cgroup.populated
    cgroup.remove(recursive=True)
    assert not os.path.exists(branch.directory)


# States


@pytest.mark.kernel
@pytest.mark.rootless
def test_populated_and_empty(cgroup: Cgroup) -> None:
    inner = Cgroup.create(f"{cgroup.name}/inner")
    with watch(cgroup, "populated", "empty") as watched:
        assert watched.wait(0) == []
        with subprocess.Popen(["sleep", "1000"]) as process:
            inner.attach(process.pid)
            (event,) = until(watched, len)
            assert (event.kind, event.cgroup, event.count) == ("populated", cgroup, 1)
            process.kill()
        assert kinds(until(watched, len)) == ["empty"]


@pytest.mark.kernel
def test_only_what_was_asked_for(cgroup: Cgroup, sleeper: Any) -> None:
    with watch(cgroup, "empty") as watched:
        process = sleeper(cgroup)
        assert watched.wait(0) == []
        process.kill()
        process.wait()
        assert kinds(until(watched, len)) == ["empty"]


@pytest.mark.kernel
@pytest.mark.rootless
def test_frozen_and_thawed(cgroup: Cgroup, sleeper: Any) -> None:
    sleeper(cgroup)
    with watch(cgroup, "frozen", "thawed") as watched:
        cgroup.freeze(PATIENCE)
        assert kinds(until(watched, len)) == ["frozen"]
        cgroup.thaw()
        assert kinds(until(watched, len)) == ["thawed"]


@pytest.mark.kernel
@pytest.mark.rootless
def test_removed_is_the_end(cgroup: Cgroup) -> None:
    with watch(cgroup) as watched:
        assert watched.active
        cgroup.remove()
        events = list(watched)
        assert [(e.kind, e.cgroup) for e in events] == [(EventKind.REMOVED, cgroup)]
        assert not watched.active
        assert watched.wait() == []


@pytest.mark.kernel
def test_removed_while_somebody_waits(cgroup: Cgroup) -> None:
    other = Cgroup.create(f"{cgroup.name}/other")
    found: list[Event] = []
    with watch([cgroup, other], "removed") as watched:
        reader = threading.Thread(target=lambda: found.extend(watched))
        reader.start()
        for one in (other, cgroup):
            one.remove()
        reader.join(PATIENCE)
        assert not reader.is_alive()
    assert {e.cgroup for e in found} == {cgroup, other}


@pytest.mark.kernel
def test_one_made_anew_is_another_one(cgroup: Cgroup) -> None:
    with watch(cgroup, "removed") as watched:
        cgroup.remove()
        Cgroup.create(cgroup.name)
        assert kinds(list(watched)) == ["removed"]


@pytest.mark.kernel
def test_who_is_removed_was_empty_before(cgroup: Cgroup, sleeper: Any) -> None:
    process = sleeper(cgroup)
    with watch(cgroup, "empty", "removed") as watched:
        process.kill()
        process.wait()
        cgroup.kill(PATIENCE)
        cgroup.remove()
        assert kinds(list(watched)) == ["empty", "removed"]


@pytest.mark.kernel
def test_a_controller_that_is_taken_away(
    cgroup: Cgroup, needs_v2: None, needs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files go while the cgroup stays: no more to tell, and no busy loop."""
    needs("pids", version=2)
    inner = Cgroup.create(f"{cgroup.name}/inner")
    taken = count_turns(monkeypatch)
    with watch(inner, "pids_max", "removed") as watched:
        Path(cgroup.path(), "cgroup.subtree_control").write_text("-pids")
        assert watched.wait(1.5) == []
        assert len(taken) < 20
        inner.remove()
        assert kinds(list(watched)) == ["removed"]


# Pressure


@pytest.fixture
def psi() -> None:
    if not os.path.exists("/proc/pressure/cpu"):
        pytest.skip("PSI is off")


@pytest.fixture
def crowd(sleeper: Any, psi: None) -> Callable[..., None]:
    """crowd(cgroup): more busy processes than there are CPUs."""

    def start(cgroup: Cgroup | None = None) -> None:
        for _ in range((os.cpu_count() or 1) + 2):
            sleeper(cgroup, "sh", "-c", "while :; do :; done")

    return start


@pytest.mark.kernel
def test_pressure_on_the_machine(crowd: Any) -> None:
    with pressure(None, "cpu", some="1ms/2s") as watched:
        crowd()
        event = until(watched, len)[0]
        assert (event.kind, event.cgroup, event.detail) == ("pressure", None, "cpu some 1ms/2s")
        assert until(watched, len)  # and again in a later window


@pytest.mark.kernel
def test_pressure_on_a_cgroup(cgroup: Cgroup, crowd: Any) -> None:
    if host().unified is None:
        with pytest.raises(UnsupportedError, match=r"v1 does not account .*pressure\(None"):
            pressure(cgroup, "cpu", some="1ms/2s")
        return
    with Watch() as watched:
        watched.add_pressure(cgroup, "cpu", some="1ms/2s", full="2s/2s")
        watched.add(cgroup, "removed")
        crowd(cgroup)
        event = until(watched, len)[0]
        assert (event.kind, event.cgroup, event.detail) == ("pressure", cgroup, "cpu some 1ms/2s")
        cgroup.kill(PATIENCE)
        cgroup.remove()
        assert kinds(list(watched))[-1] == "removed"


@pytest.mark.kernel
def test_what_is_pressing_while_nobody_waits_is_kept(crowd: Any) -> None:
    with pressure(None, "cpu", some="1ms/2s") as watched:
        crowd()
        time.sleep(3)
        assert len(until(watched, len)) == 1


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("150ms/1s", (150_000, 1_000_000)),
        ("150ms / 2s", (150_000, 2_000_000)),
        ("1us/10s", (1, 10_000_000)),
        ("0.5s/0.5s", (500_000, 500_000)),
        ("1.5ms/2000000us", (1500, 2_000_000)),
    ],
)
def test_triggers_as_text(text: str, parsed: tuple[int, int]) -> None:
    assert parse_trigger(text, "some") == parsed


@pytest.mark.parametrize(
    "text",
    ["0ms/1s", "2s/1s", "1s/11s", "1s", "1/2", "", "-1s/2s", "1ms/1s/1s", "0.1us/1s", "1m/2s", 5, None],
)
def test_triggers_that_cannot_be_meant(text: Any) -> None:
    with pytest.raises(InvalidValueError, match=r'full=.*"150ms/2s".*stall <= window <= 10s'):
        parse_trigger(text, "full")


@pytest.mark.kernel
def test_what_else_may_be_wrong_about_a_trigger(psi: None) -> None:
    with pytest.raises(InvalidValueError, match="some="):
        pressure(None, "cpu")
    with pytest.raises(InvalidValueError, match="cpu, memory, io, irq"):
        pressure(None, "disk", some="1ms/2s")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="only full"):
        pressure(None, "irq", some="1ms/2s")


@pytest.mark.kernel
def test_an_ordinary_user_wants_multiples_of_two_seconds(as_nobody: Any, psi: None) -> None:
    modern = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 4)

    def work() -> None:
        pressure(None, "memory", some="100ms/2s").close()
        pressure(None, "memory", some="150ms/1s")

    if not modern:
        with pytest.raises((AccessError, RejectedError)):  # some stable kernels have it too
            as_nobody(work)
        return
    with pytest.raises(RejectedError, match=r"some='150ms/1s'.*EINVAL.*CAP_SYS_RESOURCE.* of 2s"):
        as_nobody(work)


@pytest.mark.kernel
def test_without_psi(in_child: Any, unshare: Any, tmp_path: Path, psi: None) -> None:
    def work() -> None:
        unshare()
        subprocess.run(["mount", "--bind", str(tmp_path), "/proc/pressure"], check=True)
        pressure(None, "memory", some="150ms/2s")

    with pytest.raises(UnsupportedError, match=r"PSI is off; boot with psi=1"):
        in_child(work)


@pytest.mark.kernel
def test_where_pressure_is_not_accounted_for(cgroup: Cgroup, psi: None) -> None:
    if host().unified is None or not os.path.exists(f"{cgroup.path()}/cgroup.pressure"):
        pytest.skip("no cgroup.pressure here")
    cgroup.core.pressure = False
    with pytest.raises(UnsupportedError, match=r"cgroup\.pressure is 0 here; write 1"):
        pressure(cgroup, "memory", some="150ms/2s")


# Asking for what cannot be


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["oomkill", "", "pressure", "memory_usage", 5])
def test_a_bad_kind(cgroup: Cgroup, kind: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"kind=.*(give one of|use )"):
        watch(cgroup, "empty", kind)


@pytest.mark.kernel
def test_the_root(cgroup: Cgroup) -> None:
    for kind in ("empty", "frozen", "removed"):
        with pytest.raises(UnsupportedError, match="root cgroup"):
            watch(Cgroup("/"), kind)


@pytest.mark.kernel
def test_one_that_is_gone_already(cgroup: Cgroup) -> None:
    cgroup.remove()
    for wanted in ((), ("removed",), ("oom_kill", "empty")):
        with pytest.raises(NotFoundError, match="removed"):
            watch(cgroup, *wanted)


@pytest.mark.kernel
@pytest.mark.parametrize("value", [-1, "1", True, float("nan")])
def test_bad_times(cgroup: Cgroup, value: Any) -> None:
    with pytest.raises(InvalidValueError, match="interval"):
        Watch(interval=value)
    with watch(cgroup) as watched, pytest.raises(InvalidValueError, match="timeout"):
        watched.wait(value)


@pytest.mark.kernel
def test_too_many_open_files(cgroup: Cgroup, in_child: Any) -> None:
    def work() -> tuple[str, bool]:
        before = descriptors()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, before)) + 12, hard))
        watches = []
        try:
            while True:
                watches.append(watch(cgroup))
        except FileError as error:
            message = str(error)
        for watched in watches:
            watched.close()
        return message, descriptors() == before

    message, same = in_child(work)
    assert "raise RLIMIT_NOFILE" in message
    assert same


@pytest.mark.kernel
def test_what_is_no_cgroup() -> None:
    with Watch() as watched:
        for add in (
            lambda: watched.add("x"),  # type: ignore[arg-type]
            lambda: watched.add_pressure("x", "cpu", some="1ms/2s"),  # type: ignore[arg-type]
            lambda: watched.add_memory_usage("x", "8M"),  # type: ignore[arg-type]
        ):
            with pytest.raises(InvalidValueError, match="cgroup='x' is not valid: give a Cgroup"):
                add()


@pytest.mark.kernel
def test_another_one_of_its_name_since(
    cgroup: Cgroup, needs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two system calls of v1's registration; the kernel says EINVAL then."""
    needs("memory", version=1)
    real = os.eventfd

    def late(*args: int) -> int:
        cgroup.remove()
        Cgroup.create(cgroup.name)
        return real(*args)

    with Watch() as watched:
        monkeypatch.setattr(os, "eventfd", late)
        with pytest.raises(NotFoundError, match="removed"):
            watched.add(cgroup, "oom")


# Waiting


@pytest.mark.kernel
def test_a_signal_handler_may_close_it(
    cgroup: Cgroup, in_child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the same thread looks at something."""
    real = Subject.look

    def look(self: Subject, *, unasked: bool = False) -> Iterator[Event | None]:
        signal.raise_signal(signal.SIGUSR1)
        yield from real(self, unasked=unasked)

    def work() -> tuple[object, bool]:
        signal.alarm(PATIENCE)  # it would be a deadlock
        before = descriptors()
        watched = watch(cgroup)
        monkeypatch.setattr(Subject, "look", look)
        signal.signal(signal.SIGUSR1, lambda *_: watched.close())
        return list(watched), descriptors() == before

    assert in_child(work) == ([], True)


@pytest.mark.kernel
def test_a_signal_handler_must_not_wait(
    cgroup: Cgroup, in_child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(self: Subject, *, unasked: bool = False) -> Iterator[Event | None]:
        signal.raise_signal(signal.SIGUSR1)
        yield None

    def work() -> None:
        signal.alarm(PATIENCE)
        watched = watch(cgroup)
        monkeypatch.setattr(Subject, "look", look)
        signal.signal(signal.SIGUSR1, lambda *_: watched.wait(0))
        watched.wait(0)

    with pytest.raises(InvalidValueError, match=r"signal handler may close\(\) it"):
        in_child(work)


@pytest.mark.kernel
def test_endless_times(cgroup: Cgroup) -> None:
    for timeout in (float("inf"), 1e12, 10**400, None):
        watched = Watch(interval=float("inf") if timeout is None else 10**400)
        watched.add(cgroup)
        timer = threading.Timer(0.2, watched.close)
        timer.start()
        assert watched.wait(timeout) == []
        timer.join()


@pytest.mark.kernel
def test_looking_unasked_takes_a_share_of_a_cpu(cgroup: Cgroup) -> None:
    """And no more, however short the interval."""
    inner = [Cgroup.create(f"{cgroup.name}/{number}") for number in range(10)]
    with Watch(interval=1e-6) as watched:
        for one in (cgroup, *inner):
            watched.add(one)
        shares = []
        while len(shares) < 3 and min(shares, default=1) >= 1 / 3:  # an emulated clock is for guessing
            before, began = time.thread_time(), time.monotonic()
            assert watched.wait(3) == []
            shares.append((time.thread_time() - before) / (time.monotonic() - began))
        assert min(shares) < 1 / 3
        inner[5].remove()
        assert "removed" in kinds(until(watched, len))


@pytest.mark.kernel
def test_a_look_may_be_left_anywhere(
    cgroup: Cgroup, refused: Any, sleeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each turn is over at once here, and the next one goes on from there."""
    monkeypatch.setattr(turns, "_TURN", 0)
    inner = [Cgroup.create(f"{cgroup.name}/{number}") for number in range(5)]
    with Watch(interval=0.05) as watched, watch(cgroup, "pids_max") as other:
        for one in (cgroup, *inner):
            watched.add(one)
        assert watched.wait(0) == []
        children = [refused(inner[number], 3) for number in (1, 3)]
        for child in children:
            assert child.go()
        found = until(watched, lambda found: counted(found, "pids_max") >= 12)
        found += watched.wait(1)
        for number in (1, 3):
            assert counted(found, "pids_max", inner[number]) == 6  # of itself, and of the one above
            assert counted(found, "populated", inner[number]) == 1
        assert counted(other.wait(0), "pids_max") == 6
        inner[0].remove()
        assert [(e.kind, e.cgroup) for e in until(watched, len)] == [("removed", inner[0])]


@pytest.mark.kernel
@pytest.mark.rootless
def test_close_wakes_who_waits(cgroup: Cgroup, eventually: Any) -> None:
    watched = watch(cgroup)
    answers: list[object] = []
    threads = [
        threading.Thread(target=lambda: answers.append(watched.wait())),
        threading.Thread(target=lambda: answers.append(list(watched))),
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: watched._waiters == 2)
    watched.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == [[], []]
    watched.close()
    assert watched.wait() == list(watched) == []
    with pytest.raises(InvalidValueError, match="closed"):
        watched.add(cgroup)


@pytest.mark.kernel
def test_a_timeout(cgroup: Cgroup) -> None:
    with watch(cgroup) as watched:
        before = time.monotonic()
        assert watched.wait(0.2) == []
        assert time.monotonic() - before >= 0.2


@pytest.mark.kernel
def test_what_a_loop_leaves_is_for_the_next(cgroup: Cgroup, sleeper: Any) -> None:
    inner = Cgroup.create(f"{cgroup.name}/inner")
    with watch([cgroup, inner], "populated") as watched:
        sleeper(inner)
        first = next(iter(watched))
        second = next(iter(watched))
        assert {first.cgroup, second.cgroup} == {cgroup, inner}


@pytest.mark.kernel
def test_a_forgotten_watch_leaves_nothing(cgroup: Cgroup) -> None:
    before = descriptors()
    watch(cgroup)
    assert descriptors() == before


@pytest.mark.kernel
def test_a_fork_does_not_disturb(
    cgroup: Cgroup, in_child: Any, sleeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = count_turns(monkeypatch)
    with watch(cgroup, "populated") as watched:
        in_child(watched.close)
        assert watched.wait(1) == []
        assert len(taken) < 20
        sleeper(cgroup)
        assert kinds(until(watched, len)) == ["populated"]


@pytest.mark.kernel
def test_the_watch_of_a_parent_is_not_for_its_child(cgroup: Cgroup, in_child: Any) -> None:
    with watch(cgroup) as watched:
        for use in (lambda: watched.wait(0), lambda: list(watched), lambda: watched.add(cgroup)):
            with pytest.raises(InvalidValueError, match=r"another process's.*make one of your own"):
                in_child(use)


@pytest.mark.kernel
def test_a_fork_while_somebody_looks(cgroup: Cgroup, in_child: Any) -> None:
    watched = watch(cgroup)
    looking, forked = threading.Event(), threading.Event()

    def look() -> None:
        with watched._lock:
            looking.set()
            forked.wait(PATIENCE)

    def work() -> bool:
        signal.alarm(PATIENCE)
        with suppress(InvalidValueError):
            watched.wait(0)
        watched.close()
        return watched.active

    thread = threading.Thread(target=look)
    thread.start()
    looking.wait(PATIENCE)
    try:
        assert in_child(work) is False
    finally:
        forked.set()
        thread.join(PATIENCE)
    assert watched.wait(0) == []
    watched.close()


@pytest.mark.kernel
def test_waiting_costs_nothing(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = count_turns(monkeypatch)
    with watch(cgroup) as watched:
        add_trigger(watched)
        assert watched.wait(2) == []
    assert len(taken) < 20


def count_turns(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    found: list[None] = []
    real = turns.Turns.take

    def take(self: turns.Turns) -> None:
        found.append(None)
        real(self)

    monkeypatch.setattr(turns.Turns, "take", take)
    return found


def add_trigger(watched: Watch) -> None:
    """One that never fires."""
    if os.path.exists("/proc/pressure/memory"):
        watched.add_pressure(None, "memory", full="10s/10s")


# asyncio


@pytest.mark.kernel
@pytest.mark.rootless
def test_async_iteration(cgroup: Cgroup) -> None:
    async def main() -> list[str]:
        found = []
        with watch(cgroup, "populated", "empty", "removed") as watched:
            process = subprocess.Popen(["sleep", "1000"])
            async for event in watched:
                found.append(str(event.kind))
                if event.kind == "populated":
                    process.kill()
                    process.wait()
                elif event.kind == "empty":
                    cgroup.remove()
        return found

    async def beginning() -> list[str]:
        task = asyncio.ensure_future(main())
        await asyncio.sleep(0.1)
        (child,) = [pid for pid in children() if name(pid) == "sleep"]
        cgroup.attach(child)
        return await asyncio.wait_for(task, PATIENCE)

    assert asyncio.run(beginning()) == ["populated", "empty", "removed"]


def children() -> list[int]:
    import psutil  # noqa: PLC0415

    return [child.pid for child in psutil.Process().children()]


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


@pytest.mark.kernel
def test_async_does_not_spin(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = count_turns(monkeypatch)
    ticks: list[None] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        select = loop._selector.select  # type: ignore[attr-defined]

        def counting(timeout: float | None) -> Any:
            ticks.append(None)
            return select(timeout)

        monkeypatch.setattr(loop._selector, "select", counting)  # type: ignore[attr-defined]
        with watch(cgroup) as watched:
            add_trigger(watched)
            assert await watched.wait_async(2) == []

    asyncio.run(main())
    assert len(taken) < 20
    assert len(ticks) < 100


@pytest.mark.kernel
def test_the_loop_goes_on_between_turns(cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_TURN", 0)
    inner = [Cgroup.create(f"{cgroup.name}/{number}") for number in range(10)]
    iterations = 0

    async def count() -> None:
        nonlocal iterations
        while True:
            iterations += 1
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.ensure_future(count())
        with watch(inner) as watched:
            assert await watched.wait_async(0) == []
        task.cancel()

    asyncio.run(main())
    assert iterations >= len(inner)


@pytest.mark.kernel
def test_async_pressure_comes_each_window(crowd: Any) -> None:
    async def main() -> list[Event]:
        with pressure(None, "cpu", some="1ms/2s") as watched:
            crowd()
            found: list[Event] = []
            async with asyncio.timeout(PATIENCE):
                async for event in watched:
                    found.append(event)
                    if len(found) == 3:
                        break
            return found

    events = asyncio.run(main())
    assert {event.detail for event in events} == {"cpu some 1ms/2s"}


@pytest.mark.kernel
def test_async_counts_add_up(cgroup: Cgroup, refused: Any) -> None:
    child = refused(cgroup, 2000)

    async def main() -> int:
        found: list[Event] = []
        with watch(cgroup, "pids_max") as watched:
            work = asyncio.get_running_loop().run_in_executor(None, child.go)
            async with asyncio.timeout(PATIENCE):
                while counted(found, "pids_max") < 2000:
                    found += await watched.wait_async(1)
            assert await work
        return counted(found, "pids_max", cgroup)

    assert asyncio.run(main()) == 2000


@pytest.mark.kernel
def test_async_cancelled_and_closed(cgroup: Cgroup, sleeper: Any) -> None:
    async def main() -> None:
        with watch(cgroup, "populated") as watched:
            tasks = [asyncio.ensure_future(watched.wait_async()) for _ in range(2)]
            await asyncio.sleep(0.05)
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            sleeper(cgroup)
            assert kinds(await asyncio.wait_for(tasks[1], PATIENCE)) == ["populated"]
            task = asyncio.ensure_future(watched.wait_async())
            await asyncio.sleep(0.05)
            threading.Thread(target=watched.close).start()
            assert await asyncio.wait_for(task, PATIENCE) == []
            assert await watched.wait_async() == []

    asyncio.run(main())


@pytest.mark.kernel
def test_the_command_prints_and_ends(cgroup: Cgroup, needs: Any) -> None:
    needs("pids")
    inner = Cgroup.create(f"{cgroup.name}/inner")
    kinds = ["-e", "removed", "-e", "pids_max"]
    command = [sys.executable, "-m", "cgroupkit", "watch", *kinds, "--json", inner.name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while _watched(process.pid) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            inner.remove()
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    event = json.loads(out)
    assert (event["event"], event["cgroup"], event["count"]) == ("removed", inner.name, 1)


def _watched(pid: int) -> int:
    """How many descriptors it polls: the watch's own, and those of a cgroup."""
    told = ""
    with suppress(OSError):
        told = "".join(file.read_text() for file in Path(f"/proc/{pid}/fdinfo").iterdir())
    return told.count("tfd:")


@pytest.mark.kernel
def test_the_command_refuses_a_kind(cgroup: Cgroup, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "-e", "oomkill", cgroup.name]) == 2
    error = capsys.readouterr().err
    assert "--event='oomkill' is not valid: did you mean oom_kill?" in error


@pytest.mark.kernel
def test_on_v1_kills_are_told_to_who_may_write(
    cgroup: Cgroup, as_nobody: Any, needs: Any, needs_root: None
) -> None:
    needs("memory", 1)
    # Linux 6.1 lets everybody, 6.18 the owner.
    os.chmod(f"{cgroup.path('memory')}/cgroup.event_control", 0o200)

    def work() -> str:
        watch(cgroup, "memory_max").close()
        with pytest.raises(AccessError) as caught:
            watch(cgroup, "oom_kill")
        return str(caught.value)

    told = as_nobody(work)
    assert "cgroup.event_control: EACCES" in told
    assert "run as root, or choose other kinds" in told


def test_a_watch_that_is_not_made_leaves_nothing_to_complain_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError):
            Watch("oom_kill")  # type: ignore[misc]
        gc.collect()
