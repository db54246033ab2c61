"""Sandbox: what runs inside, how it ends, what is left."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgroupkit import Cgroup, Done, Resources, RunError, Sandbox, Verdict, host
from cgroupkit.errors import (
    CgroupKitError,
    InvalidValueError,
    ProgramAccessError,
    ProgramNotFoundError,
    UnsupportedError,
)
from tests.test_launcher import is_running

pytestmark = pytest.mark.kernel

MIB = 1 << 20
SLOW = 60


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(memory="200M", pids_limit=64) as box:
        yield box
        cgroup = box.cgroup
    assert not cgroup.exists()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def wait_until(condition: object, seconds: float = SLOW) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_until_it_speaks(box: Sandbox, *args: str) -> Done:
    """Until its time is up; with more time if it has not even begun, as the machine stood still."""
    for timeout in (1.5, 10, 30, SLOW):
        done = box.run(args, timeout=timeout, capture_output=True)
        if done.stdout:
            break
    return done


# As subprocess


def test_a_run_is_a_completed_process(box: Sandbox) -> None:
    done = box.run(
        ["sh", "-c", "cat; echo err >&2; exit 3"], input="in", capture_output=True, text=True
    )
    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.returncode, done.stdout, done.stderr) == (3, "in", "err\n")
    assert done.verdict is Verdict.EXIT
    assert "exit status 3" in done.reason


def test_environment_directory_and_descriptors(box: Sandbox, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    other = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(other, True)
    try:
        done = box.run(
            ["sh", "-c", f"pwd; echo $A; echo hello > /proc/self/fd/{writer}; ls -l /proc/$$/fd"],
            env={"A": "b", "PATH": os.environ["PATH"]},
            cwd=tmp_path,
            pass_fds=[writer],
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[:2] == [str(tmp_path), "b"], done
        os.set_blocking(reader, False)
        assert os.read(reader, 100) == b"hello\n"
        assert f" {other} ->" not in done.stdout
    finally:
        for fd in (reader, writer, other):
            os.close(fd)


def test_a_missing_program_is_file_not_found(box: Sandbox) -> None:
    with pytest.raises(ProgramNotFoundError, match="no-such-program") as caught:
        box.run(["no-such-program"])
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, CgroupKitError)
    assert caught.value.filename == "no-such-program"


def test_a_file_that_is_no_program_is_permission_error(box: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "plain"
    file.write_text("hello")
    with pytest.raises(ProgramAccessError) as caught:
        box.run([file])
    assert isinstance(caught.value, PermissionError)


def test_a_working_directory_that_is_missing(box: Sandbox) -> None:
    with pytest.raises(FileNotFoundError, match="/no/such/directory"):
        box.run(["true"], cwd="/no/such/directory")


@pytest.mark.parametrize("isolate", [(), ("pid",)])
def test_a_signal_is_the_return_code(isolate: tuple[str, ...]) -> None:
    with Sandbox(isolate=isolate) as box:
        done = box.run(["sh", "-c", "kill -USR1 $$"])
    assert done.returncode == -signal.SIGUSR1
    assert done.verdict is Verdict.SIGNAL
    assert "SIGUSR1" in done.reason


def test_exit_status_137_is_not_taken_for_oom(box: Sandbox) -> None:
    assert box.run(["sh", "-c", "exit 137"]).verdict is Verdict.EXIT
    assert box.run(["sh", "-c", "kill -KILL $$"]).verdict is Verdict.SIGNAL


def test_check_raises_with_the_result(box: Sandbox) -> None:
    with pytest.raises(RunError, match="exit status 7") as caught:
        box.run(["sh", "-c", "echo out; exit 7"], check=True, capture_output=True)
    assert isinstance(caught.value, subprocess.CalledProcessError)
    assert caught.value.stdout == b"out\n"
    assert caught.value.done.verdict is Verdict.EXIT
    assert pickle.loads(pickle.dumps(caught.value)).returncode == 7


def test_popen_is_a_popen_and_passes_signals_on(box: Sandbox) -> None:
    process = box.popen(
        python("""
            import signal, sys, time
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))
            print("ready", flush=True)
            time.sleep(1000)
        """),
        stdout=subprocess.PIPE,
    )
    assert type(process) is subprocess.Popen
    with process:
        assert process.stdout
        process.stdout.readline()
        assert len(box.cgroup.procs) == 1
        assert process.pid not in box.cgroup.procs
        process.terminate()
        assert process.wait(SLOW) == 42


def test_wrap_serves_asyncio(box: Sandbox) -> None:
    async def main() -> bytes:
        process = await asyncio.create_subprocess_exec(
            *box.wrap(["cat", "/proc/self/cgroup"]), stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output

    assert box.cgroup.name.encode() in asyncio.run(main())


def test_wrap_reports_on_stderr(box: Sandbox) -> None:
    done = subprocess.run(box.wrap(["no-such-program"]), capture_output=True, check=False)
    assert done.returncode == 127
    assert b"no-such-program" in done.stderr


def test_threads_share_a_box(box: Sandbox) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(
            target=lambda n=n: results.append(box.run(["sh", "-c", f"exit {n}"]).returncode)
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))


# Limits and verdicts


def test_it_is_born_in_every_hierarchy(box: Sandbox) -> None:
    done = box.run(["cat", "/proc/self/cgroup"], capture_output=True, text=True)
    inside = [line for line in done.stdout.splitlines() if line.endswith(box.cgroup.name)]
    assert len(inside) == len(box.cgroup.branches), done.stdout


@pytest.mark.parametrize("isolate", [(), ("pid",), "strict"])
def test_a_memory_bomb_is_an_oom_with_its_peak(isolate: object) -> None:
    with Sandbox(memory="64M", isolate=isolate) as box:  # type: ignore[arg-type]
        done = box.run(python("b'x' * (1 << 30)"), timeout=SLOW)
    assert done.verdict is Verdict.OOM, done
    assert done.returncode != 0
    memory = done.usage.memory
    assert 60 * MIB <= (memory.peak or 0) <= 64 * MIB
    assert (memory.events.oom_kill or 0) >= 1
    assert "64MiB" in done.reason


def test_a_fork_bomb_meets_the_limit() -> None:
    bomb = python("""
        import os
        while True:
            try: os.fork()
            except OSError: pass
    """)
    for timeout in (5, SLOW):
        with Sandbox(pids_limit=32) as box:
            done = box.run(bomb, timeout=timeout)
        if done.usage.pids.events.max:
            break
    assert done.verdict is Verdict.TIMEOUT
    assert done.usage.pids.peak in (None, 32)
    assert (done.usage.pids.events.max or 0) > 0


def test_the_cpu_time_of_a_run(box: Sandbox) -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    first, second = box.run(python(spin)), box.run(["true"])
    assert (first.usage.cpu.usage_usec or 0) >= 300_000
    assert (second.usage.cpu.usage_usec or 0) < (first.usage.cpu.usage_usec or 0)


def test_the_peak_of_a_second_run_is_its_own() -> None:
    with Sandbox(memory="300M") as box:
        large = box.run(python("b'x' * (128 << 20)")).usage.memory
        small = box.run(["true"]).usage.memory
    assert (large.peak or 0) >= 128 * MIB
    assert small.peak is None or small.peak < 64 * MIB


def test_swap_is_off_unless_it_is_asked_for() -> None:
    with Sandbox(memory="100M") as box:
        memory = box.cgroup.memory
        if memory.version == 1:
            if not memory.has("memory.memsw.limit_in_bytes"):
                pytest.skip("this kernel does not account for swap")
            assert memory.memsw_limit == 100 * MIB
            box.update(memory="50M")
            assert memory.memsw_limit == 50 * MIB
        else:
            assert memory.swap_max == 0
    with Sandbox(memory="100M", memory_swap="150M") as box:
        memory = box.cgroup.memory
        allowed = memory.memsw_limit if memory.version == 1 else memory.swap_max
        assert allowed == (150 if memory.version == 1 else 50) * MIB


def test_live_update_freeze_and_thaw() -> None:
    with Sandbox(memory="1G") as box:
        process = box.popen(["sleep", "1000"])
        for size, number in (("200M", 200 * MIB), ("2G", 2048 * MIB), ("1G", 1024 * MIB)):
            box.update(memory=size)
            assert box.cgroup.memory.max == number
        box.freeze(SLOW)
        assert box.cgroup.frozen
        box.thaw()
        assert not box.cgroup.frozen
        assert process.poll() is None


# The end


@pytest.mark.parametrize(
    "escape",
    [
        "setsid sleep 1000 & sleep 1000",
        "trap '' TERM INT HUP; (trap '' TERM INT HUP; sleep 1000) & sleep 1000",
        "kill -STOP $$",
        "(setsid sh -c 'sleep 1000 & sleep 1000' &) ; sleep 1000",
        "while true; do (true &) ; done",
    ],
)
def test_a_timeout_ends_the_tree_whatever_it_does(box: Sandbox, escape: str) -> None:
    done = run_until_it_speaks(box, "sh", "-c", f"echo begun; {escape}")
    assert done.verdict is Verdict.TIMEOUT
    assert done.stdout == b"begun\n"
    assert box.cgroup.procs == []


def test_a_pipe_held_open_by_a_daemon_does_not_hold_up_the_timeout(box: Sandbox) -> None:
    done = run_until_it_speaks(box, "sh", "-c", "setsid sleep 1000 & echo out")
    assert (done.verdict, done.stdout) == (Verdict.TIMEOUT, b"out\n")


@pytest.mark.parametrize("isolate", [(), ("pid",), "process"])
def test_leaving_the_block_ends_everything(isolate: object) -> None:
    with Sandbox(isolate=isolate) as box:  # type: ignore[arg-type]
        process = box.popen(["sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & echo; sleep 1000"],
                            stdout=subprocess.PIPE)  # fmt: skip
        assert process.stdout
        process.stdout.readline()
        inside = box.cgroup.procs
        cgroup = box.cgroup
        assert inside
    process.communicate()
    assert process.returncode == -9
    assert not cgroup.exists()
    wait_until(lambda: not any(map(is_running, inside)))


def test_a_frozen_box_can_be_left() -> None:
    with Sandbox() as box:
        process = box.popen(["sleep", "1000"])
        box.freeze()
    assert process.wait(SLOW) == -9


def test_an_exception_in_the_block_ends_the_box_too() -> None:
    with pytest.raises(ZeroDivisionError), Sandbox() as box:
        process = box.popen(["sleep", "1000"])
        raise ZeroDivisionError
    assert process.wait(SLOW) == -9


def test_cgroups_made_inside_are_removed() -> None:
    with Sandbox() as box:
        cgroup = box.cgroup
        Cgroup.create(f"{cgroup.name}/inner/most")
    assert not cgroup.exists()


def test_a_box_can_be_used_again_after_a_timeout_or_a_kill(box: Sandbox) -> None:
    assert box.run(["sleep", "1000"], timeout=0.2).verdict is Verdict.TIMEOUT
    done = box.run(["cat", "/proc/self/cgroup"], capture_output=True, text=True)
    assert done.verdict is Verdict.OK
    assert done.stdout.count(box.cgroup.name) == len(box.cgroup.branches)
    box.kill()
    with pytest.raises(FileNotFoundError):
        box.run(["no-such-program"])
    assert box.run(["true"]).verdict is Verdict.OK


def test_a_caller_in_a_cgroup_that_was_killed_once(cgroup_name: str) -> None:
    outer = Cgroup.create(cgroup_name)
    if outer.branches[0].version == 1:
        pytest.skip("there is no v2 hierarchy")
    else:
        outer.kill()
        process = subprocess.Popen(
            ["sh", "-c", 'read _; exec "$@"', "sh", *python("""
                from cgroupkit import Sandbox
                with Sandbox() as box:
                    print(box.run(["true"]).verdict)
            """)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        outer.attach(process.pid)
        assert process.communicate("go\n", SLOW)[0] == "Verdict.OK\n"


def test_a_stopped_supervisor_does_not_hold_up_the_timeout(box: Sandbox) -> None:
    done = run_until_it_speaks(box, "sh", "-c", "echo out; kill -STOP $PPID; sleep 1000")
    assert (done.verdict, done.stdout) == (Verdict.TIMEOUT, b"out\n")


def test_nothing_starts_in_a_frozen_box(box: Sandbox) -> None:
    box.freeze()
    with pytest.raises(InvalidValueError, match="thaw"):
        box.run(["true"], timeout=1)
    box.kill()
    assert box.run(["true"]).verdict is Verdict.OK


def test_a_fork_of_the_caller_leaves_the_box_alone(box: Sandbox) -> None:
    process = box.popen(["sleep", "1000"])
    child = os.fork()
    if child == 0:
        try:
            box.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.2)
    assert process.poll() is None
    assert box.cgroup.exists()


def test_closing_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Sandbox().__enter__()
    process = box.popen(["sleep", "1000"])
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no descriptor"):
        patch.setattr("cgroupkit.tree.remove", lambda *args: _raise(OSError(24, "no descriptor")))
        box.close()
    cgroup = box.cgroup
    box.close()
    assert process.wait(SLOW) == -9
    assert not cgroup.exists()


def _raise(error: Exception) -> None:
    raise error


def test_a_caller_without_standard_descriptors(tmp_path: Path) -> None:
    report = tmp_path / "report"
    code = f"""
        import os
        from cgroupkit import Sandbox
        os.closerange(0, 3)
        with Sandbox() as box:
            status = box.run(["sh", "-c", "exit 3"]).returncode
            try: box.run(["no-such-program"])
            except FileNotFoundError as error: text = str(error)
        open({str(report)!r}, "w").write(f"{{status}} {{text}}")
    """
    subprocess.run(python(code), check=True)
    assert report.read_text().startswith("3 cannot run 'no-such-program'")


def test_threads_may_update_one_box(box: Sandbox) -> None:
    def change(size: int) -> None:
        for step in range(20):
            box.update(memory=f"{size + step}M", memory_swap=f"{size + step + 5}M")

    threads = [threading.Thread(target=change, args=(size,)) for size in (50, 100, 150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory = box.cgroup.memory
    assert memory.max in {169 * MIB, 119 * MIB, 69 * MIB}


def test_concurrent_runs_do_not_reset_each_others_peak() -> None:
    with Sandbox(memory="300M") as box:
        rise_and_fall = "x = b'x' * (100 << 20); del x; print('fallen', flush=True); input()"
        process = box.popen(python(rise_and_fall), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        box.run(["true"])
        peak = box.stats().memory.peak
        process.communicate(b"\n", SLOW)
    if peak is None:
        pytest.skip("this kernel has no memory.peak")
    assert peak >= 100 * MIB


def owner(code: str) -> subprocess.Popen[str]:
    """A program that enters a box and says so."""
    return subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "inside",
    ["sleep 1000", "setsid sleep 1000 & exit 0", "kill -STOP $$"],
    ids=["plain", "daemon", "stopped"],
)
def test_the_callers_death_ends_the_box(inside: str) -> None:
    process = owner(f"""
        import sys, time
        from cgroupkit import Sandbox
        box = Sandbox().__enter__()
        box.popen(["sh", "-c", {inside!r}])
        while not box.cgroup.procs: time.sleep(0.01)
        time.sleep(0.3)
        print(box.cgroup.name, flush=True)
        time.sleep(1000)
    """)
    with process:
        assert process.stdout
        cgroup = Cgroup(process.stdout.readline().strip())
        inside_pids = cgroup.procs
        assert inside_pids
        process.kill()
    wait_until(lambda: not cgroup.exists())
    wait_until(lambda: not any(map(is_running, inside_pids)))


def test_what_an_owner_left_is_removed_by_the_next_program() -> None:
    process = owner("""
        import os, time
        from cgroupkit import Sandbox
        box = Sandbox().__enter__()
        print(box.cgroup.name, flush=True)
        time.sleep(1000)
    """)
    with process:
        assert process.stdout
        cgroup = Cgroup(process.stdout.readline().strip())
        process.kill()
    assert cgroup.exists()
    subprocess.run(python("from cgroupkit import Sandbox\nwith Sandbox(): pass"), check=True)
    assert not cgroup.exists()


# Isolation


def test_strict_walls_off_everything() -> None:
    with Sandbox(isolate="strict", hostname="inside", memory="200M") as box:
        done = box.run(
            ["sh", "-c", "hostname; echo $$; ls /sys/fs/cgroup; grep Cap /proc/self/status; "
             "grep NoNewPrivs /proc/self/status; cat /proc/net/dev; ls -d /proc/[0-9]*;"
             "echo x > /proc/sys/kernel/hostname; cat /proc/self/cgroup"],
            capture_output=True, text=True,
        )  # fmt: skip
    out = done.stdout
    assert out.startswith("inside\n2\n"), done
    assert "CapEff:\t0000000000000000" in out
    assert "CapBnd:\t0000000000000000" in out
    assert "NoNewPrivs:\t1" in out
    assert "eth" not in out
    assert "memory" not in out.split("Cap")[0]
    assert "box-" not in out
    assert "cannot create /proc/sys" in done.stderr or "Read-only" in done.stderr


@pytest.mark.parametrize(
    "attempt",
    [
        "unshare -U --keep-caps true",
        "unshare -Ur true",
        "mknod /tmp/cgroupkit-null c 1 3",
        "mount -t tmpfs none /mnt",
        "echo 1 > /sys/kernel/mm/ksm/run",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "umount /sys/fs/cgroup",
        "chroot / true",
        "ls /sys/fs/cgroup | grep .",
        "kill -0 1000000 || kill -0 $(cat /proc/1/status | grep NSpid | cut -f 3)",
    ],
)
def test_strict_refuses(attempt: str) -> None:
    with Sandbox(isolate="strict", pids_limit=32) as box:
        done = box.run(["sh", "-c", attempt], capture_output=True, text=True)
    assert done.returncode != 0, done


def test_strict_hides_cgroups_mounted_elsewhere(tmp_path: Path) -> None:
    hierarchy = host().hierarchies[0]
    kind = "cgroup2" if hierarchy.version == 2 else "cgroup"
    options = hierarchy.version == 1 and ["-o", ",".join(hierarchy.controllers).replace("io", "blkio")]
    subprocess.run(["mount", "-t", kind, *(options or []), "none", tmp_path], check=True)
    try:
        with Sandbox(isolate="strict") as box:
            done = box.run(["ls", "-A", tmp_path], capture_output=True, text=True)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert (done.returncode, done.stdout) == (0, ""), done


@pytest.mark.parametrize("isolate", ["process", "strict"])
def test_the_callers_process_group_is_out_of_reach(isolate: str) -> None:
    code = f"""
        from cgroupkit import Sandbox
        with Sandbox(isolate={isolate!r}) as box:
            print(box.run(["sh", "-c", "kill -KILL 0"]).returncode)
    """
    done = subprocess.run(
        python(code), capture_output=True, text=True, check=False, start_new_session=True
    )
    assert (done.returncode, done.stdout) == (0, "-9\n"), done


@pytest.mark.parametrize("name", ["pid", "ipc", "uts", "mnt", "net", "user", "cgroup", "time"])
def test_each_namespace_is_its_own(name: str) -> None:
    if not os.path.exists(f"/proc/self/ns/{name}"):
        pytest.skip(f"this kernel has no {name} namespace")
    with Sandbox(isolate=(name,)) as box:
        done = box.run(["readlink", f"/proc/self/ns/{name}"], capture_output=True, text=True)
    own = os.readlink(f"/proc/self/ns/{name}")
    if name == "pid":  # without mnt, /proc is the outer one, where the box's own self is not found
        assert done.stdout.strip() != own
    else:
        assert done.stdout.strip().startswith(f"{name}:["), done
        assert done.stdout.strip() != own


def test_the_init_reaps_and_is_counted() -> None:
    with Sandbox(isolate="process", pids_limit=16) as box:
        done = box.run(
            ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do (true &) ; "
             "sleep 0.05; done; cat /proc/1/comm"], capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done
    assert done.stdout.strip() == "launcher"


# Bad input


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"memory": "200X"}, "memory='200X'"),
        ({"memory": -5}, "memory=-5"),
        ({"memory": "1e3M"}, "1e3M"),
        ({"memory": ""}, "memory=''"),
        ({"memory": True}, "memory=True"),
        ({"memory": "1K"}, "rounds down to pages"),
        ({"isolate": "uts", "hostname": ""}, "hostname=''"),
        ({"parent": 5}, "parent=5"),
        ({"memori": "1G"}, "did you mean memory"),
        ({"cpus": 1, "cpu_quota": 5000}, "exclude each other"),
        ({"memory": "2G", "memory_swap": "1G"}, "memory_swap"),
        ({"pids_limit": "many"}, "pids_limit='many'"),
        ({"cpus": 0}, "cpus=0"),
        ({"isolate": "strct"}, "did you mean isolate=strict"),
        ({"isolate": "foo"}, "the options are isolate=pid"),
        ({"isolate": ("strict", "pid")}, "stands alone"),
        ({"hostname": "x"}, "add uts to isolate"),
        ({"parent": "relative"}, "absolute cgroup path"),
        ({"parent": "/a/../b"}, "leave the tree"),
    ],
)
def test_bad_options_are_refused_before_anything_is_made(options: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidValueError, match=says) as caught, Sandbox(**options):  # type: ignore[arg-type]
        pass
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"args": "ls -l"}, "give a list"),
        ({"args": []}, "name the program"),
        ({"args": ["true"], "preexec_fn": print}, "preexec_fn"),
        ({"args": ["true"], "shell": True}, "/bin/sh"),
        ({"args": ["true"], "close_fds": False}, "pass_fds"),
        ({"args": ["true"], "timeout": -1}, "timeout"),
        ({"args": ["true"], "timeout": "5s"}, "timeout='5s'"),
        ({"args": ["true"], "user": 0}, "setpriv"),
        ({"args": ["true"], "input": "x", "stdin": 0}, "exclude"),
        ({"args": ["true"], "capture_output": True, "stdout": 1}, "capture_output"),
    ],
)
def test_bad_arguments_of_run(box: Sandbox, options: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidValueError, match=says):
        box.run(**options)  # type: ignore[arg-type]


def test_a_box_that_was_not_entered_or_is_over() -> None:
    box = Sandbox()
    with pytest.raises(InvalidValueError, match="with statement"):
        box.run(["true"])
    with box, pytest.raises(InvalidValueError, match="entered already"):
        box.__enter__()
    with pytest.raises(InvalidValueError, match="with statement"):
        box.wrap(["true"])
    box.close()


def test_a_limit_that_this_version_lacks_leaves_nothing() -> None:
    option = (
        {"memory_swappiness": 10}
        if host().controllers["memory"].version == 2
        else {"memory_high": "1G"}
    )
    before = list(Cgroup("/").children())
    with pytest.raises(UnsupportedError), Sandbox(**option):  # type: ignore[arg-type]
        pass
    assert [c for c in Cgroup("/").children() if "box-" in c.name] == [
        c for c in before if "box-" in c.name
    ]


def test_a_box_removed_under_our_hands() -> None:
    with Sandbox() as box:
        box.cgroup.remove()
        with pytest.raises((CgroupKitError, OSError), match="box"):
            box.run(["true"])


def test_no_descriptor_is_left(box: Sandbox) -> None:
    box.run(["true"])
    gc.collect()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        box.run(["true"], capture_output=True)
        with pytest.raises(FileNotFoundError):
            box.run(["no-such-program"], capture_output=True)
    assert os.listdir("/proc/self/fd") == before


def test_options_are_those_of_resources() -> None:
    with Sandbox(**{"pids_limit": 10}) as box:
        assert box.cgroup.pids.max == Resources(pids_limit=10).pids_limit == 10


@pytest.mark.kernel
@pytest.mark.parametrize("timeout", [0, 0.0001, 0.0005, 0.001, 0.002, 0.005])
def test_a_time_that_is_up_before_the_command_is_inside(timeout: float) -> None:
    """What comes into the box after it was killed is killed, too."""
    for _ in range(5):
        with Sandbox() as box:
            done = box.run(["sleep", "1000"], timeout=timeout)
        assert done.verdict is Verdict.TIMEOUT
        assert done.returncode != 0
