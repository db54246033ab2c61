"""Recordings: what is in the file is what happened, and the run never suffers from being recorded."""

from __future__ import annotations

import gc
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup, Sandbox, Verdict, threads
from cgroupkit.cli import main
from cgroupkit.errors import CgroupKitError, FileError, InvalidValueError, NotFoundError
from cgroupkit.hierarchy import host
from cgroupkit.recording import Recorder, load, loading

PATIENCE = 120
MIB = 1 << 20
COMMAND = [sys.executable, "-m", "cgroupkit", "record"]
ALLOCATE = "x = b'x' * (200 << 20)"
SPIN = "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass"
HEADER = {
    "format": "cgroupkit recording",
    "version": 1,
    "argv": ["job"],
    "cgroup": "/x",
    "hz": 10,
    "started": "2026-01-01T00:00:00+00:00",
    "host": {"kernel": "6.12", "cpus": 2},
}
END = {"samples": 3, "missed": 1, "rate": 9.5, "error": None, "verdict": "exit", "returncode": 3}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


@pytest.fixture
def box() -> Iterator[Callable[..., Sandbox]]:
    """box(**limits): a Sandbox, entered; skips where none can be made."""
    made: list[Sandbox] = []

    def enter(**limits: Any) -> Sandbox:
        sandbox = Sandbox(**limits)
        try:
            made.append(sandbox.__enter__())
        except CgroupKitError as error:
            pytest.skip(f"no box can be made here: {error}")
        return sandbox

    yield enter
    for sandbox in made:
        sandbox.close()


def written(file: Path, *rows: object, header: dict[str, Any] = HEADER) -> Path:
    lines = [json.dumps(row) for row in (header, *rows)]
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def call(*words: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=PATIENCE, check=False, **kwargs
    )
    assert "Traceback" not in done.stderr
    return done


def rising(values: list[int | None]) -> bool:
    known = [value for value in values if value is not None]
    return known == sorted(known)


# What is recorded


@pytest.mark.kernel
def test_a_run_from_before_it_to_after_it(box: Any, file: Path, needs: Any) -> None:
    needs("memory")
    sandbox = box(memory="64M")
    with Recorder(sandbox.cgroup, file, hz=50, argv=["sh", b"-c", "..."]) as recorder:
        more = f"until test $(wc -l <{file}) -gt 10; do sleep 0.05; done"
        done = sandbox.run(["sh", "-c", f"{more}; sleep 0.5; exit 3"])
        recorder.ended(done)
    assert recorder.error is None
    recording = load(file)
    assert recording.argv == ("sh", "-c", "...")
    assert recording.header.cgroup == sandbox.cgroup.name
    assert (recording.header.hz, recording.header.kernel) == (50, os.uname().release)
    assert list(recording.times) == sorted(recording.times)
    assert recording.duration >= 0.5
    tasks = recording["pids.current"]
    assert len(tasks) == len(recording.times) == recorder.samples
    if recording.last("pids.current") is not None:
        assert tasks[0] == 0
        assert max(filter(None, tasks)) >= 1
    assert rising(recording["cpu.usage_usec"])
    assert set(recording["memory.max"]) == {64 * MIB}
    assert recording["memory.high"] == [None] * recorder.samples
    end = recording.end
    assert end is not None
    assert (end.verdict, end.returncode, end.reason) == ("exit", 3, "exit status 3")
    assert (end.samples, end.missed, end.error) == (recorder.samples, recorder.missed, None)
    assert end.usage is not None and end.usage["memory"]["max"] == 64 * MIB


@pytest.mark.kernel
def test_an_oom_kill_has_its_mark(box: Any, file: Path, needs: Any) -> None:
    needs("memory")
    sandbox = box(memory="40M")
    with Recorder(sandbox.cgroup, file) as recorder:
        done = sandbox.run([sys.executable, "-c", ALLOCATE])
        recorder.ended(done)
    recording = load(file)
    assert done.verdict is Verdict.OOM
    assert recording.end is not None and recording.end.verdict == "oom"
    kills = recording.oom_kills()
    assert sum(count for _, count in kills) == done.usage.memory.events.oom_kill
    assert 0 < kills[0][0] <= recording.times[-1]
    assert max(value or 0 for value in recording["memory.current"]) <= 44 * MIB


@pytest.mark.kernel
def test_throttling_has_its_mark(box: Any, file: Path, needs: Any) -> None:
    needs("cpu")
    sandbox = box(cpus=0.2)
    with Recorder(sandbox.cgroup, file):
        sandbox.run([sys.executable, "-c", SPIN])
        time.sleep(1)
    recording = load(file)
    spans = recording.throttled()
    assert spans
    assert all(recording.times[0] <= begin < end <= recording.times[-1] for begin, end in spans)
    assert sum(end - begin for begin, end in spans) < recording.duration
    assert recording.last("cpu_max.quota") == 20_000


@pytest.mark.kernel
def test_limits_that_are_changed_meanwhile(cgroup: Cgroup, file: Path, needs: Any) -> None:
    needs("memory")
    with Recorder(cgroup, file, hz=100) as recorder:
        for size in (50, 100, None):
            cgroup.memory.max = None if size is None else size * MIB
            before = recorder.samples
            while recorder.samples < before + 30:
                time.sleep(0.01)
    seen = load(file).changes("memory.max").values
    assert [value for value in seen if value][:2] == [50 * MIB, 100 * MIB]
    assert seen[-1] is None


@pytest.mark.kernel
def test_a_cgroup_that_ends(cgroup: Cgroup, file: Path) -> None:
    with Recorder(cgroup, file, hz=20) as recorder:
        assert not recorder.wait(0.1)
        cgroup.remove()
        assert recorder.wait(PATIENCE)
    recording = load(file)
    assert recorder.error is None
    assert recording.end is not None and recording.end.samples == len(recording.times)
    with pytest.raises(NotFoundError), Recorder(cgroup, file):
        pass


@pytest.mark.kernel
def test_one_that_is_made_anew_is_another(cgroup: Cgroup, file: Path, needs: Any) -> None:
    needs("memory")
    with Recorder(cgroup, file, hz=10) as recorder:
        cgroup.remove()
        again = Cgroup.create(cgroup.name)
        assert recorder.wait(PATIENCE)
        again.remove()
    assert recorder.error is None


@pytest.mark.kernel
def test_missed_ticks_are_counted_and_not_made_up_for(
    cgroup: Cgroup, file: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    original = Recorder._read

    def slow(self: Recorder, tick: int) -> Any:
        time.sleep(0.035)
        return original(self, tick)

    monkeypatch.setattr(Recorder, "_read", slow)
    with Recorder(cgroup, file, hz=100) as recorder:
        eventually(lambda: recorder.samples > 20)
    assert recorder.missed >= 2 * (recorder.samples - 3) > 0
    gaps = [b - a for a, b in zip(load(file).times, load(file).times[1:], strict=False)]
    assert min(gaps[:-1]) >= 0.03
    assert recorder.rate < 100 / 3
    end = load(file).end
    assert end is not None and end.missed == recorder.missed


@pytest.mark.kernel
def test_an_error_ends_the_recording_and_not_the_block(
    cgroup: Cgroup, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Recorder, tick: int) -> Any:
        raise RuntimeError("sampling failed")

    with Recorder(cgroup, file, hz=100) as recorder:
        monkeypatch.setattr(Recorder, "_read", broken)
        assert recorder.wait(PATIENCE)
    assert str(recorder.error) == "sampling failed"
    recording = load(file)
    assert recording.end is not None and recording.end.error == "sampling failed"
    assert len(recording.times) == recorder.samples


@pytest.mark.kernel
def test_nothing_is_left(cgroup: Cgroup, file: Path) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    with pytest.raises(KeyError), Recorder(cgroup, file):
        raise KeyError("the block's own")
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    recorder = Recorder(cgroup, file)
    with recorder:
        pass
    recorder.close()
    with pytest.raises(InvalidValueError, match="used already"), recorder:
        pass


# The file


@pytest.mark.kernel
def test_only_recordings_are_overwritten(cgroup: Cgroup, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('precious')\n")
    with (
        pytest.raises(InvalidValueError, match=r"script\.py is not overwritten"),
        Recorder(cgroup, script),
    ):
        pass
    assert script.read_text() == "print('precious')\n"
    old = written(tmp_path / "old.jsonl", *({"t": number} for number in range(1000)))
    empty = tmp_path / "empty"
    empty.touch()
    for name in (old, empty):
        with Recorder(cgroup, name, hz=10):
            pass
        assert 2 <= len(load(name).times) < 100


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("", "Is a directory"),
        ("absent/run.jsonl", "No such file or directory"),
        ("fifo", "not a regular file"),
        ("/dev/null", "not a regular file"),
    ],
)
def test_where_no_recording_can_be(cgroup: Cgroup, tmp_path: Path, name: str, part: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InvalidValueError, match=part), Recorder(cgroup, tmp_path / name):
        pass


@pytest.mark.parametrize("hz", [9, 1001, 0, -1, "fast", None, 99.5, True])
def test_rates_out_of_range(hz: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"hz=.*from 10 to 1000"):
        Recorder(Cgroup("/"), "unused", hz=hz)
    assert not os.path.exists("unused")


def test_the_values_over_time(file: Path) -> None:
    written(
        file,
        {"t": 0.0, "memory.current": 5, "memory.max": 100, "memory.events.oom_kill": 2},
        {"t": 0.1},
        {"t": 0.2, "memory.current": 7, "memory.max": None, "io.8:0.rbytes": 4096},
        {"t": 0.3, "memory.events.oom_kill": 5},
        {"end": {**END, "new": "of a later version"}},
    )
    recording = load(file)
    assert list(recording.times) == [0.0, 0.1, 0.2, 0.3]
    assert recording["memory.current"] == [5, 5, 7, 7]
    assert recording["memory.max"] == [100, 100, None, None]
    assert recording["io.8:0.rbytes"] == [None, None, 4096, 4096]
    assert recording["memory.high"] == [None] * 4
    with pytest.raises(KeyError, match=r"did you mean 'memory\.current'"):
        recording["memory.curent"]
    assert recording.last("memory.max") is None
    assert recording.oom_kills() == [(0.3, 3)]
    assert recording.end is not None
    assert (recording.end.rate, recording.end.verdict, recording.end.usage) == (9.5, "exit", None)
    assert recording.argv == ("job",)


def test_throttling_within_a_period_is_one(file: Path) -> None:
    def row(t: float, throttled: int) -> dict[str, Any]:
        return {"t": t, "cpu.nr_throttled": throttled, "cpu.throttled_usec": throttled * 40_000}

    rows = [row(0.0, 0), row(1.0, 0)]
    rows += [row(1.0 + tick / 10, tick) for tick in range(1, 6)]
    rows += [row(3.0, 5), row(3.02, 6)]
    recording = load(written(file, *rows))
    (first, second) = recording.throttled()
    assert first == (1.0, 1.5)
    assert second == pytest.approx((2.98, 3.02))


@pytest.mark.kernel
def test_two_at_once_do_not_share_a_file(cgroup: Cgroup, file: Path) -> None:
    with Recorder(cgroup, file) as first:
        with pytest.raises(InvalidValueError, match="is being recorded right now"):
            Recorder(cgroup, file).__enter__()
        done = call(str(file), "--cgroup", cgroup.name, "--duration", "0.1")
        assert done.returncode == 125 and "is being recorded right now" in done.stderr
    assert len(load(file).times) == first.samples
    with Recorder(cgroup, file):
        pass


@pytest.mark.kernel
def test_an_interrupt_as_it_begins_still_ends_the_file(
    cgroup: Cgroup, file: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    recorder = Recorder(cgroup, file, hz=100)

    def interrupted(thread: threading.Thread) -> None:
        thread.start()
        eventually(lambda: recorder.samples > 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorder.__enter__()
    assert not recorder._thread.is_alive()
    recording = load(file)
    assert recording.end is not None
    assert recording.end.samples == len(recording.times) == recorder.samples


@pytest.mark.kernel
def test_without_a_thread_nothing_is_left_open(
    cgroup: Cgroup, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    gc.collect()
    before = os.listdir("/proc/self/fd")
    recorder = Recorder(cgroup, file)
    with pytest.raises(FileError, match="cannot start a thread: EAGAIN"):
        recorder.__enter__()
    recorder.close()
    assert os.listdir("/proc/self/fd") == before


def test_what_a_killed_recorder_leaves(file: Path) -> None:
    written(file, {"t": 0.0, "memory.current": 1}, {"t": 0.1, "memory.current": 2})
    whole = file.read_bytes()
    for end in (b"", b'{"t": 0.2, "mem', b"\0" * 100, b'{"t": '):
        file.write_bytes(whole + end)
        recording = load(file)
        assert recording["memory.current"] == [1, 2]
        assert recording.end is None
    file.write_bytes(whole + b'{"t": 0.2, "mem\n{"t": 0.3}\n')
    with pytest.raises(InvalidValueError, match="line 4 is broken"):
        load(file)


def test_a_line_that_is_completed_while_it_is_read() -> None:
    class Growing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return b"}\n"

    file = Growing(json.dumps(HEADER).encode() + b'\n{"t": 0}\n{"t": 1')
    assert list(loading._read(file, "run.jsonl").times) == [0]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is not a recording"),
        (b"print('hello')\n", "is not a recording"),
        (b"[1, 2]\n", "is not a recording"),
        (b'"text"\n', "is not a recording"),
        (b'{"format": "other"}\n', "is not a recording"),
        (b"\xff\xfe\x00", "is not a recording"),
        (json.dumps({**HEADER, "version": 2}).encode(), "version 2; this cgroupkit reads 1"),
        (json.dumps({**HEADER, "host": None}).encode(), "its header is broken"),
        (json.dumps(HEADER).encode() + b'\n{"t": "x"}\n{"t": 1}\n', "line 2 is broken"),
        *(
            (
                json.dumps(HEADER).encode() + b'\n{"t": 2}\n{"t": %s}\n{}\n' % time,
                "line 3 is broken",
            )
            for time in (b"NaN", b"Infinity", b"1e308", b"9" * 401, b"-1", b"1", b"[" * 100_000)
        ),
        (b"[" * 100_000, "is not a recording"),
        (json.dumps({**HEADER, "hz": float("inf")}).encode(), "its header is broken"),
        (json.dumps(HEADER).encode() + b'\n{"t": 0, "a": "x"}\n{"t": 1}\n', "line 2 is broken"),
    ],
)
def test_what_is_not_a_recording(file: Path, content: bytes, part: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidValueError, match=part):
        load(file)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for name, part in (("absent", "No such file"), ("", "Is a directory")):
        with pytest.raises(InvalidValueError, match=f"cannot read it: {part}"):
            load(tmp_path / name)


# The command


@pytest.fixture
def able(box: Any) -> None:
    box()


@pytest.mark.kernel
@pytest.mark.usefixtures("able")
def test_the_command_ends_as_run_does(file: Path) -> None:
    done = call("--hz", "20", str(file), "--", "sh", "-c", "echo out; sleep 0.2; exit 7", "--")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert f"{file}: " in done.stderr and " samples in " in done.stderr
    assert load(file).argv == ("sh", "-c", "echo out; sleep 0.2; exit 7", "--")
    late = call("--timeout", "0.3", str(file), "--", "sleep", "1000")
    end = load(file).end
    assert late.returncode == 124
    assert end is not None and end.verdict == "timeout"
    absent = call(str(file), "--", "/nonexistent")
    end = load(file).end
    assert absent.returncode == 127
    assert end is not None and end.reason is not None and "/nonexistent" in end.reason


@pytest.mark.kernel
@pytest.mark.usefixtures("able")
def test_a_full_disk_does_not_harm_the_run(file: Path) -> None:
    limit = (3000, 3000)
    done = call(
        *("--hz", "200", str(file), "--", "sh", "-c", "sleep 2; exit 5"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 5
    assert "the recording ended early: File too large" in done.stderr
    assert len(load(file).times) > 1
    assert file.read_bytes().endswith(b"\n")


@contextmanager
def recording_of(file: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*COMMAND, str(file), *words], stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as status:
            return status.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.kernel
@pytest.mark.usefixtures("able")
def test_the_death_of_the_recorder_leaves_its_file_and_nothing_else(
    file: Path, eventually: Callable[..., None]
) -> None:
    with recording_of(file, "--", "sh", "-c", "echo $$; exec sleep 1000") as process:
        assert process.stdout is not None
        inner = int(process.stdout.readline())
        eventually(lambda: len(load(file).times) > 5)
        process.kill()
        process.wait()
        recording = load(file)
        assert recording.end is None
        assert len(recording.times) > 5
        eventually(lambda: gone(inner))
        box = recording.header.cgroup
        if not box_is_gone(box):
            assert main(["gc"]) == 0
        assert box_is_gone(box)


def box_is_gone(name: str) -> bool:
    paths = (hierarchy.directory(name) for hierarchy in host().hierarchies)
    return not any(path and os.path.isdir(path) for path in paths)


@pytest.mark.kernel
@pytest.mark.usefixtures("able")
def test_a_signal_ends_the_command_and_then_the_recording(file: Path) -> None:
    with recording_of(file, "--", "sh", "-c", "echo ready; exec sleep 1000") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    end = load(file).end
    assert end is not None and (end.verdict, end.returncode) == ("signal", -15)


@pytest.mark.kernel
@pytest.mark.parametrize("how", ["removed", "interrupted", "duration"])
def test_a_cgroup_that_runs(
    cgroup: Cgroup, file: Path, how: str, eventually: Callable[..., None]
) -> None:
    duration = ["--duration", "0.5"] if how == "duration" else []
    with recording_of(file, "--cgroup", cgroup.name, *duration) as process:
        if how != "duration":
            eventually(lambda: file.exists() and file.read_bytes().count(b"\n") > 3)
        if how == "removed":
            cgroup.remove()
        elif how == "interrupted":
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert err.count("\n") == 1 and f"{file}: " in err
    recording = load(file)
    assert (recording.argv, recording.header.cgroup) == (None, cgroup.name)
    assert recording.end is not None and recording.end.verdict is None
    assert how != "duration" or recording.duration >= 0.5


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "required: FILE"),
        (["FILE"], "name what to record"),
        (["FILE", "--"], "name what to record"),
        (["FILE", "true"], "write -- before the command"),
        (
            ["--hz", "5", "FILE", "--", "true"],
            "--hz=5 is not valid: give a whole number from 10 to 1000",
        ),
        (["--hz", "fast", "FILE", "--", "true"], "from 10 to 1000"),
        (["--memory", "200X", "FILE", "--", "true"], "'200X'"),
        (["--memroy", "1G", "FILE", "--", "true"], "did you mean --memory?"),
        (["--duration", "5", "FILE", "--", "true"], "--duration is for --cgroup"),
        (["--cgroup", "/x", "FILE", "--", "true"], "not both"),
        (["--cgroup", "/x", "--memory", "1G", "FILE"], "`cgroupkit update` changes limits"),
        (["--cgroup", "/x", "--timeout", "5", "FILE"], "--timeout is for a command"),
        (["--cgroup", "/x", "--duration", "0", "FILE"], "--duration '0'"),
        (["--cgroup", "/cgroupkit-test-absent", "FILE"], "there is no cgroup"),
    ],
)
def test_what_cannot_be_meant(
    words: list[str], part: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["record", *(str(file) if word == "FILE" else word for word in words)])
    out, err = capsys.readouterr()
    assert (status, out) == (125, "")
    assert part in err
    assert err.startswith("cgroupkit: ") and err.count("\n") == 1
    assert not file.exists() or not file.read_bytes()


@pytest.mark.kernel
@pytest.mark.usefixtures("able")
def test_a_script_is_not_overwritten(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text("print('ran')\n")
    done = call(str(script), "--", sys.executable, str(script))
    assert (done.returncode, done.stdout) == (125, "")
    assert "is not overwritten" in done.stderr
    assert script.read_text() == "print('ran')\n"
