"""Programs that are started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Sandbox, Verdict
from cgroupkit.errors import FileError, InvalidValueError, ProgramNotFoundError
from cgroupkit.sandbox.supervise import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    RestartPolicy,
    Supervised,
    pause,
)

PATIENCE = 120

# Policies


@pytest.mark.parametrize("text", ["no", "always", "unless-stopped", "on-failure", "on-failure:3"])
def test_policies_are_spelled_as_docker_spells_them(text: str) -> None:
    assert str(RestartPolicy.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "allways", "always:3", "no:0", "on-failure:", "on-failure:-1", "on-failure:x", 5, None]
)
def test_what_is_no_policy(text: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"restart=.* is not valid: give .no."):
        RestartPolicy.parse(text)


def test_the_nearest_policy_is_named() -> None:
    with pytest.raises(InvalidValueError, match="did you mean 'always'"):
        RestartPolicy.parse("allways")


def test_when_to_start_again() -> None:
    def says(policy: str, code: int, before: int = 0) -> bool:
        return RestartPolicy.parse(policy).restarts(code, before)

    assert not says("no", 1)
    assert says("always", 0) and says("always", 1, 99)
    assert says("unless-stopped", 0)
    assert says("on-failure", 1, 1000) and says("on-failure", -9) and not says("on-failure", 0)
    assert says("on-failure:2", 1, 1) and not says("on-failure:2", 1, 2)


def test_pauses_double_up_to_a_minute_and_begin_anew() -> None:
    waits, last = [], 0.0
    for _ in range(12):
        last = pause(last, ran=0.5)
        waits.append(round(last, 3))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]
    assert pause(LONGEST_PAUSE, ran=10) == FIRST_PAUSE
    assert pause(0.4, ran=9.99) == 0.8


# Programs


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(pids_limit=50) as box:
        yield box


def counting(file: Path, then: str = "") -> list[str]:
    return ["sh", "-c", f"echo . >> {file}; {then}"]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("restart", "then", "runs"),
    [("no", "exit 1", 1), ("on-failure:2", "exit 1", 3), ("on-failure:2", "exit 0", 1),
     ("on-failure:1", "kill -9 $$", 2)],
)  # fmt: skip
def test_how_often_it_runs(box: Sandbox, tmp_path: Path, restart: str, then: str, runs: int) -> None:
    supervised = box.supervise(counting(tmp_path / "runs", then), restart=restart)
    done = supervised.wait(PATIENCE)
    assert len((tmp_path / "runs").read_text().split()) == runs
    assert (supervised.restarts, supervised.state, supervised.pid) == (runs - 1, "exited", None)
    assert supervised.poll() is done is supervised.last
    assert done.verdict in (Verdict.OK, Verdict.EXIT, Verdict.SIGNAL)


@pytest.mark.kernel
def test_always_and_unless_stopped_go_on(box: Sandbox, tmp_path: Path, eventually: Any) -> None:
    for restart in ("always", "unless-stopped"):
        file = tmp_path / restart
        supervised = box.supervise(counting(file), restart=restart)
        eventually(lambda file=file: file.exists() and len(file.read_text().split()) > 2)
        assert supervised.poll() is None
        supervised.stop()
        assert supervised.state == "exited"
        before = file.read_text()
        time.sleep(0.5)
        assert file.read_text() == before


@pytest.mark.kernel
def test_a_run_is_stopped(box: Sandbox) -> None:
    with box.supervise(["sleep", "1000"], restart="always") as supervised:
        assert supervised.state == "running"
        assert supervised.pid
        with pytest.raises(subprocess.TimeoutExpired):
            supervised.wait(0.01)
    done = supervised.poll()
    assert done is not None
    assert (done.returncode, done.verdict) == (-signal.SIGTERM, Verdict.SIGNAL)
    assert supervised.restarts == 0


@pytest.mark.kernel
def test_one_that_does_not_want_to_end(box: Sandbox, tmp_path: Path, eventually: Any) -> None:
    ready = tmp_path / "ready"
    command = ["sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done"]
    supervised = box.supervise(command, restart="always")
    eventually(ready.exists)
    assert supervised.stop(timeout=0.2).returncode == -signal.SIGKILL


@pytest.mark.kernel
def test_the_policy_changes_while_it_runs(box: Sandbox, tmp_path: Path, eventually: Any) -> None:
    go = tmp_path / "go"
    supervised = box.supervise(
        counting(tmp_path / "runs", f"while ! test -e {go}; do sleep 0.02; done")
    )
    assert supervised.restart == "no"
    supervised.restart = "always"
    go.touch()
    eventually(lambda: supervised.restarts > 1)
    supervised.restart = "no"
    assert supervised.wait(PATIENCE).returncode == 0
    with pytest.raises(InvalidValueError, match="restart='sometimes'"):
        supervised.restart = "sometimes"
    assert supervised.restart == "no"


@pytest.mark.kernel
def test_the_policy_changes_between_two_runs(box: Sandbox, eventually: Any) -> None:
    supervised = box.supervise(["false"], restart="always")
    eventually(lambda: supervised.restarts >= 4 and supervised.state == "restarting")
    supervised.restart = "no"
    assert supervised.wait(PATIENCE).returncode == 1
    assert supervised.restarts < 10


@pytest.mark.kernel
def test_from_many_threads(box: Sandbox) -> None:
    supervised = box.supervise(["sleep", "1000"], restart="always")
    states: set[str] = set()

    def change() -> None:
        for number in range(300):
            supervised.restart = ("always", "no", "on-failure:3")[number % 3]
            states.add(supervised.state)

    threads = [threading.Thread(target=change) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == {"running"}
    supervised.stop()


@pytest.mark.kernel
def test_each_run_has_its_own_verdict(needs: Any, tmp_path: Path, eventually: Any) -> None:
    needs("memory")
    once, seen = tmp_path / "once", tmp_path / "seen"
    code = (
        f"import os, sys, time\nif os.path.exists({str(once)!r}):\n"
        f"    while not os.path.exists({str(seen)!r}): time.sleep(0.01)\n    sys.exit(4)\n"
        f"open({str(once)!r}, 'w')\nx = b'1' * (200 << 20)"
    )
    with Sandbox(memory="50M") as box:
        supervised = box.supervise([sys.executable, "-c", code], restart="on-failure:1")
        eventually(lambda: supervised.last is not None)
        first = supervised.last
        assert first is not None
        seen.touch()
        done = supervised.wait(PATIENCE)
    assert first.verdict is Verdict.OOM
    assert (done.verdict, done.returncode) == (Verdict.EXIT, 4)


@pytest.mark.kernel
def test_a_program_that_is_not_there(box: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFoundError):
        box.supervise(["/nowhere/program"], restart="always")
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nrm {program}\nexit 1\n")
    program.chmod(0o755)
    done = box.supervise([str(program)], restart="on-failure:2").wait(PATIENCE)
    assert (done.returncode, done.verdict) == (127, Verdict.EXIT)


@pytest.mark.kernel
def test_leaving_the_block_ends_it(tmp_path: Path) -> None:
    """In whatever state: nothing is started any more when the block is left."""
    for seconds in (0.0, 0.05, 0.15, 0.3):
        runs = tmp_path / f"runs{seconds}"
        with Sandbox() as box:
            supervised = [box.supervise(counting(runs), restart="always") for _ in range(3)]
            time.sleep(seconds)
        assert [one.state for one in supervised] == ["exited"] * 3
        before = runs.read_text() if runs.exists() else ""
        time.sleep(0.3)
        assert (runs.read_text() if runs.exists() else "") == before


@pytest.mark.kernel
def test_the_end_of_the_interpreter_ends_it(tmp_path: Path, eventually: Any) -> None:
    pid = tmp_path / "pid"
    code = (
        "from cgroupkit import Sandbox\nimport time, os\n"
        "box = Sandbox().__enter__()\n"
        f"box.supervise(['sh', '-c', 'echo $$ > {pid}; exec sleep 1000'], restart='always')\n"
        f"while not (os.path.exists({str(pid)!r}) and open({str(pid)!r}).read()): time.sleep(0.01)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
    number = int(pid.read_text())
    eventually(lambda: not os.path.exists(f"/proc/{number}"))


@pytest.mark.kernel
def test_a_start_that_fails_in_an_unforeseen_way_is_a_failed_run(tmp_path: Path) -> None:
    with Sandbox() as box, (tmp_path / "out").open("wb") as out:
        go = tmp_path / "go"
        wait = f"while ! test -e {go}; do sleep 0.02; done; exit 1"
        program = box.supervise(["sh", "-c", wait], "on-failure:1", stdout=out)
        out.close()
        go.touch()
        assert program.wait(PATIENCE).returncode == 125
        assert program.state == "exited"
        assert program.pid is None


@pytest.mark.kernel
@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_pipe_is_refused(stream: str) -> None:
    with Sandbox() as box, pytest.raises(InvalidValueError, match=f"{stream}='PIPE'.*DEVNULL"):
        box.supervise(["true"], **{stream: subprocess.PIPE})


@pytest.mark.kernel
def test_without_a_thread_nothing_runs(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as none_left:
        none_left.setattr(threading.Thread, "start", refuse)
        with pytest.raises(FileError, match="cannot start a thread: EAGAIN"):
            box.supervise(["sleep", "1000"], restart="always")
    eventually(lambda: box.cgroup.procs == [])
    assert box.run(["true"]).returncode == 0


@pytest.mark.kernel
def test_a_frozen_box_waits_with_restarts(eventually: Any) -> None:
    with Sandbox() as box:
        program = box.supervise(["true"], "always")
        eventually(lambda: program.state == "restarting")
        box.freeze()
        before = program.restarts
        time.sleep(1)  # several pauses long
        assert program.restarts <= before + 1
        assert program.last is not None
        assert program.last.returncode == 0
        box.thaw()
        eventually(lambda: program.restarts > before + 1)
        assert program.last.returncode == 0


@pytest.fixture
def overtaken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """overtaken(program, freeze): a restart finds the box not frozen, and then it is."""

    def overtake(program: Supervised, freeze: Callable[[float], None]) -> None:
        real = program._start

        def late() -> Any:
            monkeypatch.setattr(program, "_start", real)
            freeze(PATIENCE)
            return real()

        monkeypatch.setattr(program, "_start", late)

    return overtake


@pytest.mark.kernel
@pytest.mark.parametrize("whose", ["box", "cgroup"])
def test_who_is_overtaken_by_a_freeze_waits_too(whose: str, overtaken: Any, eventually: Any) -> None:
    with Sandbox() as box:
        program = box.supervise(["true"], "always")
        overtaken(program, box.freeze if whose == "box" else box.cgroup.freeze)
        eventually(lambda: box.cgroup.frozen)
        program.restart = "on-failure"  # does not have to wait for the thaw
        program.restart = "always"
        restarts = program.restarts
        assert (program.state, program.pid) == ("restarting", None)
        assert program.last is not None
        assert program.last.returncode == 0
        box.cgroup.thaw()
        eventually(lambda: program.restarts > restarts + 1)
        assert program.last.returncode == 0


@pytest.mark.kernel
@pytest.mark.parametrize("stop", [False, True])
def test_who_is_overtaken_by_a_freeze_does_not_hold_up_the_end(
    stop: bool, overtaken: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox() as box:
        program = box.supervise(["true"], "always")
        monkeypatch.setattr(program, "_frozen", lambda: False)
        overtaken(program, box.cgroup.freeze)
        eventually(lambda: box.cgroup.procs and box.cgroup.frozen)
        if stop:
            assert program.stop(PATIENCE).returncode == 0
    assert program.state == "exited"
    assert program.last is not None
    assert program.last.returncode == 0


@pytest.mark.kernel
def test_a_stopped_launcher_does_not_hold_up_the_end() -> None:
    with Sandbox() as box:
        program = box.supervise(["sleep", "1000"])
        assert program.pid is not None
        os.kill(program.pid, signal.SIGSTOP)
    assert program.state == "exited"


@pytest.mark.kernel
def test_a_fork_is_told_to_ask_its_parent(in_child: Any) -> None:
    with Sandbox() as box:
        program = box.supervise(["sleep", "1000"])
        with pytest.raises(InvalidValueError, match="a fork of that"):
            in_child(program.wait)
        with pytest.raises(InvalidValueError, match="a fork of that"):
            in_child(program.stop)
        assert program.state == "running"
