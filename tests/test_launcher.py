"""The launcher executable by itself: everything here runs the real binary."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 120  # seconds; emulated processors are slow
SEVEN = "pid,ipc,uts,mnt,net,user,cgroup"

OPTIONS, OWNER, KEEP_FD, OPEN_V2, OPEN_V1, CLONE, JOIN_V1 = 1, 2, 3, 5, 6, 7, 8
READ_ONLY, EXEC = 15, 23

in_and_out = pytest.mark.parametrize(
    "options",
    [pytest.param((), id="plain"), pytest.param(("--ns=pid",), id="pid", marks=pytest.mark.kernel)],
)


@pytest.fixture(scope="session")
def launcher() -> str:
    override = os.environ.get("CGROUPKIT_LAUNCHER")
    if override:
        return override
    from cgroupkit.sandbox.launch import launcher_path  # noqa: PLC0415

    return launcher_path()


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(launcher: str) -> Run:
    """run(option..., program=[...]) -> CompletedProcess"""

    def run(*options: str, program: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        require(options)
        kwargs = {"capture_output": True, "text": True, "timeout": PATIENCE} | kwargs
        return subprocess.run([launcher, *options, "--", *program], check=False, **kwargs)

    return run


@pytest.fixture
def start(launcher: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start(option..., program=[...]) -> Popen, killed at the end if it still runs"""
    started = []

    def start(*options: str, program: list[str], **kwargs: Any) -> subprocess.Popen[str]:
        require(options)
        kwargs = {"stdout": subprocess.PIPE, "text": True} | kwargs
        process = subprocess.Popen([launcher, *options, "--", *program], **kwargs)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


def require(options: tuple[str, ...]) -> None:
    """Skip where the kernel or our rights do not allow what the options ask for."""
    for option in options:
        if option.startswith("--ns="):
            if os.geteuid() != 0:
                pytest.skip("namespaces without a user namespace need root")
            for name in option.removeprefix("--ns=").split(","):
                if not os.path.exists(f"/proc/self/ns/{name}"):
                    pytest.skip(f"this kernel has no {name} namespaces")


def report_of(launcher: str, *options: str, program: list[str]) -> tuple[int, tuple[int, ...] | None]:
    """The exit status, and (stage, index, errno) as --status reported it."""
    require(options)
    reader, writer = os.pipe()
    with open(reader, "rb") as reports:
        argv = [launcher, f"--status={writer}", *options, "--", *program]
        with subprocess.Popen(argv, pass_fds=[writer], stderr=subprocess.DEVNULL) as process:
            os.close(writer)
            report = reports.read()
        return process.returncode, struct.unpack("=IIi", report) if report else None


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "this should have happened by now"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def running_with(word: str) -> list[int]:
    """The pids of all processes that have word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if word.encode() in (entry / "cmdline").read_bytes() and is_running(int(entry.name)):
                    found.append(int(entry.name))
    return found


# --- cgroups ------------------------------------------------------------------------------------


def mounts(kind: str) -> list[tuple[str, list[str]]]:
    """(mount point, super block options) of every mount of this kind that shows its root."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        fstype, _, options = right.split()[:3]
        if fstype == kind and root == "/":
            found.append((point, options.split(",")))
    return found


def require_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("making cgroups here needs root")


serial = count()


class Boxes:
    """The cgroups of one test."""

    def __init__(self) -> None:
        self.name = f"cklaunch-{os.getpid()}-{next(serial)}"
        self.directories: list[str] = []

    def _create(self, mount: str) -> str:
        directory = f"{mount}/{self.name}"
        os.mkdir(directory)
        self.directories.append(directory)
        return directory

    def v2(self) -> str:
        require_root()
        found = mounts("cgroup2")
        if not found:
            pytest.skip("no cgroup2 file system is mounted")
        return self._create(found[0][0])

    def v1(self, controller: str) -> str:
        require_root()
        for point, options in mounts("cgroup"):
            if controller in options:
                return self._create(point)
        pytest.skip(f"no v1 hierarchy has the {controller} controller")

    def any(self, kind: str) -> tuple[str, list[str]]:
        """A directory to look into, and the options for a box of this kind."""
        if kind == "v2":
            directory = self.v2()
            return directory, [f"--v2={directory}"]
        if kind == "v1":
            directories = [self.v1("pids"), self.v1("memory")]
        else:
            directories = [self.v1("freezer"), self.v1("pids")]
        return directories[-1], [f"--v1={directory}" for directory in directories]

    def exist(self) -> bool:
        return any(os.path.exists(directory) for directory in self.directories)

    def remove(self) -> None:
        for pid in running_with(self.name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for top in self.directories:
            for directory, _, files in os.walk(top, topdown=False):
                if "freezer.state" in files:
                    Path(directory, "freezer.state").write_text("THAWED")

                def empty(directory: str = directory) -> bool:
                    for pid in members(directory):
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    with suppress(OSError):
                        os.rmdir(directory)
                    return not os.path.exists(directory)

                wait_until(empty)


@pytest.fixture
def boxes() -> Iterator[Boxes]:
    boxes = Boxes()
    yield boxes
    boxes.remove()


def members(directory: str) -> list[int]:
    try:
        return [int(pid) for pid in Path(directory, "cgroup.procs").read_text().split()]
    except OSError:
        return []


every_kind = pytest.mark.parametrize("kind", ["v2", "v1", "v1-freezer"])


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


# --- what the program returns ---------------------------------------------------------------------


def test_size(launcher: str) -> None:
    assert os.path.getsize(launcher) < 100_000


def test_version(launcher: str) -> None:
    output = subprocess.check_output([launcher, "--version"], text=True)
    assert output.startswith("cgroupkit launcher ")


@in_and_out
@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_status(run: Run, options: tuple[str, ...], status: int) -> None:
    assert run(*options, program=["sh", "-c", f"exit {status}"]).returncode == status


@in_and_out
@pytest.mark.parametrize("name", ["TERM", "KILL", "ABRT", "SEGV", "PIPE", "USR1", "HUP", "RTMIN"])
def test_death_by_signal_is_mirrored(run: Run, options: tuple[str, ...], name: str) -> None:
    number = signal.Signals["SIG" + name].value
    done = run(*options, program=["sh", "-c", f"kill -{number} $$"])
    assert done.returncode == -number


@in_and_out
def test_standard_streams(run: Run, options: tuple[str, ...]) -> None:
    done = run(*options, program=["sh", "-c", "cat; echo error >&2"], input="text")
    assert (done.stdout, done.stderr) == ("text", "error\n")


def test_arguments_arrive_as_they_are(run: Run) -> None:
    program = ["printf", "%s|", "--", "--v2=x", "", "a b"]
    assert run(program=program).stdout == "--|--v2=x||a b|"


@in_and_out
def test_no_copy_of_output_is_held_open(start: Callable[..., Any], options: tuple[str, ...]) -> None:
    process = start(*options, program=["sh", "-c", "exec >&- 2>&-; exec sleep 1000"])
    assert process.stdout.read() == ""
    assert process.poll() is None


# --- what can go wrong ----------------------------------------------------------------------------


@in_and_out
def test_success_reports_nothing(launcher: str, options: tuple[str, ...]) -> None:
    assert report_of(launcher, *options, program=["true"]) == (0, None)


@in_and_out
def test_status_ends_when_the_program_begins(launcher: str, options: tuple[str, ...]) -> None:
    require(options)
    reader, writer = os.pipe()
    with open(reader, "rb") as reports:
        argv = [launcher, f"--status={writer}", *options, "--", "sleep", "1000"]
        process = subprocess.Popen(argv, pass_fds=[writer])
        os.close(writer)
        assert reports.read() == b""
        assert process.poll() is None
        process.kill()
        process.wait()


@in_and_out
@pytest.mark.parametrize("program", ["no-such-program-anywhere", "/no/such/program", ""])
def test_missing_program(launcher: str, options: tuple[str, ...], program: str) -> None:
    expected = (127, (EXEC, 0, errno.ENOENT))
    assert report_of(launcher, *options, program=[program]) == expected


@in_and_out
def test_program_that_may_not_run(launcher: str, options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("text")
    expected = (126, (EXEC, 0, errno.EACCES))
    assert report_of(launcher, *options, program=[str(tmp_path / "plain")]) == expected


def test_file_of_unknown_format(launcher: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("echo this is no executable\n")
    program.chmod(0o755)
    expected = (126, (EXEC, 0, errno.ENOEXEC))
    assert report_of(launcher, program=[str(program)]) == expected


def test_arguments_too_long(launcher: str) -> None:
    # As long as the launcher may get it, which leaves no room for a longer path in front of it.
    longest = ["true", *["x" * 100_000] * 19]
    status, report = report_of(launcher, program=longest)
    assert (status, report) in [(0, None), (126, (EXEC, 0, errno.E2BIG))]


def test_failure_without_status_is_told_on_stderr(run: Run) -> None:
    done = run(program=["/no/such/program"])
    assert done.returncode == 127
    assert done.stderr == "cgroupkit: execute: /no/such/program: no such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus", "--", "true"], "unknown option: --bogus"),
        (["--v22=x", "--", "true"], "unknown option: --v22=x"),
        (["true"], "unknown option: true"),
        (["--v2", "--", "true"], "needs a value"),
        (["--v2=", "--", "true"], "needs a value"),
        (["--v2=a", "--v2=b", "--", "true"], "too many of these options: --v2=b"),
        (["--v1=a"] * 17 + ["--", "true"], "too many"),
        (["--proc=x", "--", "true"], "takes no value"),
        (["--ns=pid,", "--", "true"], "comma"),
        (["--ns=pid,moon", "--", "true"], "unknown namespace"),
        (["--ns=pidx", "--", "true"], "unknown namespace"),
        (["--keep=x", "--", "true"], "not a number"),
        (["--keep=-1", "--", "true"], "not a number"),
        (["--keep=99999999999", "--", "true"], "not a number"),
        (["--owner=0", "--", "true"], "not a number"),
        (["--hostname=x", "--", "true"], "--ns=uts is missing"),
        (["--proc", "--ns=mnt", "--", "true"], "--ns=pid is missing"),
        (["--proc", "--ns=pid", "--", "true"], "--ns=mnt is missing"),
        (["--ro=/", "--", "true"], "--ns=mnt is missing"),
        (["--hide=/", "--", "true"], "--ns=mnt is missing"),
        ([], "program to run is missing"),
        (["--"], "program to run is missing"),
    ],
)
def test_bad_options(launcher: str, arguments: list[str], message: str) -> None:
    done = subprocess.run(
        [launcher, *arguments], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 125
    assert done.stderr.startswith("cgroupkit: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert done.stdout == ""


def test_bad_option_is_reported_by_number(launcher: str) -> None:
    expected = (125, (OPTIONS, 3, errno.EINVAL))  # --status is the first
    assert report_of(launcher, "--keep=0", "--bogus", program=["true"]) == expected


def test_descriptor_to_keep_is_not_open(launcher: str) -> None:
    expected = (125, (KEEP_FD, 1, errno.EBADF))
    assert report_of(launcher, "--keep=0", "--keep=987", program=["true"]) == expected


def test_missing_cgroups(launcher: str) -> None:
    missing = "/no/such/cgroup"
    assert report_of(launcher, f"--v2={missing}", program=["true"]) == (
        125,
        (OPEN_V2, 0, errno.ENOENT),
    )
    assert report_of(launcher, f"--v1={missing}", program=["true"]) == (
        125,
        (OPEN_V1, 0, errno.ENOENT),
    )


def test_directory_that_is_no_cgroup(launcher: str, tmp_path: Path) -> None:
    status, report = report_of(launcher, f"--v2={tmp_path}", program=["true"])
    assert (status, report) == (125, (CLONE, 0, errno.EBADF))


# --- what the program finds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="plain"),
        pytest.param(("--ns=pid",), id="pid", marks=pytest.mark.kernel),
        pytest.param((f"--ns={SEVEN}", "--proc"), id="seven", marks=pytest.mark.kernel),
    ],
)
def test_descriptors(launcher: str, options: tuple[str, ...]) -> None:
    require(options)
    null = os.open(os.devnull, os.O_RDONLY)
    for number in (50, 51, 700):
        os.dup2(null, number, inheritable=True)
    try:
        argv = [launcher, *options, "--keep=700", "--keep=51", "--", "ls", "/proc/self/fd"]
        output = subprocess.check_output(argv, pass_fds=[50, 51, 700], text=True)
    finally:
        for number in (null, 50, 51, 700):
            os.close(number)
    assert sorted(map(int, output.split())) == [0, 1, 2, 3, 51, 700]  # 3 is ls's own


def test_closed_standard_descriptors_stay_closed(launcher: str) -> None:
    command = 'exec <&- 2>&-; exec "$0" -- ls /proc/self/fd'
    output = subprocess.check_output(["sh", "-c", command, launcher], text=True)
    assert sorted(map(int, output.split())) == [0, 1]  # 0 is ls's own


@in_and_out
def test_signals_are_as_after_login(run: Run, options: tuple[str, ...]) -> None:
    def worst_case() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])

    program = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]
    done = run(*options, program=program, restore_signals=False, preexec_fn=worst_case)
    assert [int(word, 16) for word in re.findall(r"\t(\w+)", done.stdout)] == [0, 0]


@in_and_out
def test_ignored_hangup_stays_ignored(run: Run, options: tuple[str, ...]) -> None:
    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    program = ["grep", "^SigIgn", "/proc/self/status"]
    done = run(*options, program=program, preexec_fn=nohup)
    assert int(done.stdout.split()[1], 16) == 1 << signal.SIGHUP - 1


def test_path_search(run: Run, tmp_path: Path) -> None:
    for name in ("denied", "empty", "good"):
        (tmp_path / name).mkdir()
    (tmp_path / "denied/tool").write_text("#!/bin/sh\necho denied\n")
    (tmp_path / "good/tool").write_text("#!/bin/sh\necho good $1\n")
    (tmp_path / "good/tool").chmod(0o755)

    def search(*directories: str, **kwargs: Any) -> Any:
        path = ":".join(directories)
        return run(program=["tool", "x"], env={"PATH": path}, cwd=tmp_path, **kwargs)

    denied, empty, good = (str(tmp_path / name) for name in ("denied", "empty", "good"))
    assert search("/no/such", empty, good).stdout == "good x\n"
    assert search(denied, good).stdout == "good x\n"
    assert search("/" + "x" * 5000, good).stdout == "good x\n"
    assert search(denied, empty).returncode == 126
    assert search(empty, "").returncode == 127
    assert run(program=["tool"], env={"PATH": f"{empty}:"}, cwd=good).stdout == "good\n"
    assert run(program=["sh", "-c", "echo found"], env={}).stdout == "found\n"


def test_environment_and_directory(run: Run, tmp_path: Path) -> None:
    done = run(program=["/bin/sh", "-c", "echo $A; pwd"], env={"A": "b"}, cwd=tmp_path)
    assert done.stdout == f"b\n{tmp_path}\n"


# --- signals --------------------------------------------------------------------------------------

WAIT_FOR_SIGNAL = 'trap "exit 7" {0}; echo ready; while :; do sleep 0.05; done'


@in_and_out
@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "WINCH"])
def test_signals_are_forwarded(start: Callable[..., Any], options: tuple[str, ...], name: str) -> None:
    process = start(*options, program=["sh", "-c", WAIT_FOR_SIGNAL.format(name)])
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.Signals["SIG" + name])
    assert process.wait(PATIENCE) == 7


@in_and_out
def test_default_action_of_a_forwarded_signal(
    start: Callable[..., Any], options: tuple[str, ...]
) -> None:
    process = start(*options, program=["sh", "-c", "echo ready; exec sleep 1000"])
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(PATIENCE) == -signal.SIGTERM


@in_and_out
def test_stop_and_continue(start: Callable[..., Any], options: tuple[str, ...]) -> None:
    program = ["sh", "-c", WAIT_FOR_SIGNAL.format("TERM")]
    process = start(*options, program=program, process_group=0)
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.killpg(process.pid, signal.SIGCONT)
    process.terminate()
    assert process.wait(PATIENCE) == 7


@in_and_out
@pytest.mark.parametrize("session", [(), ("--new-session",)], ids=["", "new-session"])
def test_interrupt_from_the_terminal_arrives_once(
    launcher: str, options: tuple[str, ...], session: tuple[str, ...]
) -> None:
    require(options)
    script = "trap 'echo interrupt' INT; trap 'exit 7' USR1; echo ready;while :; do sleep 0.05; done"
    master, slave = os.openpty()
    # The leader of a new session takes the first terminal that it opens.
    take_terminal = ["sh", "-c", 'exec <"$0"; exec "$@"', os.ttyname(slave)]
    process = subprocess.Popen(
        [*take_terminal, launcher, *options, *session, "--", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    os.close(slave)
    with process:
        assert process.stdout
        try:
            assert process.stdout.readline() == "ready\n"
            os.write(master, b"\x03")
            assert process.stdout.readline() == "interrupt\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.read() == ""
            assert process.wait(PATIENCE) == 7
        finally:
            process.kill()
            os.close(master)


def test_new_session(run: Run) -> None:
    script = "import os; print(os.getsid(0) == os.getpid())"
    assert run("--new-session", program=[sys.executable, "-c", script]).stdout == "True\n"
    assert run(program=[sys.executable, "-c", script]).stdout == "False\n"


def test_hold(launcher: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with subprocess.Popen([launcher, "--hold"], stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stdout.read() == b""  # it has closed what it does not need
            process.send_signal(signal.SIGUSR1)
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0


def test_hold_ends_with_its_owner(launcher: str, owner: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen([launcher, "--hold", f"--owner={owner.pid}"]) as process:
        owner.kill()
        assert process.wait(PATIENCE) == 0


# --- namespaces -----------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["pid", "ipc", "uts", "mnt", "net", "user", "cgroup", "time"])
def test_namespace_is_new(run: Run, name: str) -> None:
    done = run(f"--ns={name}", program=["readlink", f"/proc/self/ns/{name}"])
    if name == "time" and "create the process: invalid argument" in done.stderr:
        pytest.skip("this kernel's clone3 does not know time namespaces")
    # In a pid namespace alone /proc is the outer one; "self" is still right there.
    assert done.stdout.startswith(f"{name}:"), done
    assert done.stdout.strip() != os.readlink(f"/proc/self/ns/{name}")


@pytest.mark.kernel
def test_all_together(run: Run) -> None:
    options = ("--ns=pid,ipc,uts,mnt,net,user,cgroup,time", "--proc", "--hostname=box")
    done = run(*options, "--no-new-privs", "--drop-caps", program=["sh", "-c", "hostname; echo $$"])
    assert (done.returncode, done.stdout) == (0, "box\n2\n"), done.stderr


@pytest.mark.kernel
def test_program_is_pid_two_and_processes_are_listed_in_own_proc(run: Run) -> None:
    script = "echo $$; for d in /proc/[0-9]*; do echo ${d#/proc/}; done"
    done = run("--ns=pid,mnt", "--proc", program=["sh", "-c", script])
    assert done.stdout == "2\n1\n2\n"
    flags = run("--ns=pid,mnt", "--proc", program=["grep", " /proc ", "/proc/mounts"])
    assert "nosuid,nodev,noexec" in flags.stdout.splitlines()[-1]


@pytest.mark.kernel
def test_init_reaps_zombies(run: Run) -> None:
    script = "for i in 1 2 3; do (true &) ; done; while ls /proc/self/task >/dev/null; do "
    script += "set -- /proc/[0-9]*; [ $# -le 2 ] && echo reaped && exit; sleep 0.05; done"
    done = run("--ns=pid,mnt", "--proc", program=["sh", "-c", script])
    assert done.stdout == "reaped\n"


@pytest.mark.kernel
def test_orphans_end_with_the_program(run: Run) -> None:
    word = f"1000.{os.getpid()}"
    script = f"setsid sleep {word} >/dev/null 2>&1 </dev/null & exit 5"
    assert run("--ns=pid", program=["sh", "-c", script]).returncode == 5
    assert running_with(word) == []


@pytest.mark.kernel
def test_program_can_not_end_init(run: Run) -> None:
    script = "kill -KILL 1; kill -TERM 1; kill -INT 1; echo still here; exit 3"
    done = run("--ns=pid", program=["sh", "-c", script])
    assert (done.returncode, done.stdout) == (3, "still here\n")


@pytest.mark.kernel
def test_killed_init(start: Callable[..., Any]) -> None:
    process = start("--ns=pid", program=["sh", "-c", "echo ready; exec sleep 1000"])
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this kernel does not list children in /proc")
    os.kill(int(children.read_text()), signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL


@pytest.mark.kernel
@pytest.mark.parametrize("with_user", [False, True], ids=["root", "user"])
def test_loopback_is_up(run: Run, with_user: bool) -> None:
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(s.getsockname()); print([n for _, n in socket.if_nameindex()][0])"
    )
    done = run("--ns=net,user" if with_user else "--ns=net", program=[sys.executable, "-c", script])
    assert done.stdout == "lo\n", done.stderr


@pytest.mark.kernel
def test_hostname(run: Run) -> None:
    before = os.uname().nodename
    assert run("--ns=uts", "--hostname=a-box", program=["uname", "-n"]).stdout == "a-box\n"
    assert os.uname().nodename == before


@pytest.mark.kernel
def test_own_user_is_mapped_to_itself(run: Run) -> None:
    done = run("--ns=user", program=["cat", "/proc/self/uid_map", "/proc/self/setgroups"])
    assert done.stdout.split() == ["0", "0", "1", "deny"]


@pytest.mark.kernel
def test_ordinary_user(launcher: str) -> None:
    require_root()
    for path in ("kernel/unprivileged_userns_clone", "user/max_user_namespaces"):
        setting = Path("/proc/sys", path)
        if setting.exists() and setting.read_text().strip() == "0":
            pytest.skip(f"{setting} forbids user namespaces")
    directory = tempfile.mkdtemp(prefix="cklaunch-")
    try:
        os.chmod(directory, 0o755)
        copy = shutil.copy(launcher, directory)
        options = [f"--ns={SEVEN}", "--proc", "--hostname=box", "--drop-caps", "--hide=/sys"]
        done = subprocess.run(
            [copy, *options, "--", "sh", "-c", "id -u; id -g; uname -n; echo $$; ls /sys"],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            user=12345,
            group=12346,
            extra_groups=[],
        )
    finally:
        shutil.rmtree(directory)
    assert done.stdout.split() == ["12345", "12346", "box", "2"], done.stderr


CAPABILITIES = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]


@pytest.mark.kernel
@pytest.mark.parametrize("namespaces", [(), ("--ns=user",), (f"--ns={SEVEN}",)], ids=str)
def test_capabilities_stay_dropped_after_exec(run: Run, namespaces: tuple[str, ...]) -> None:
    require_root()
    script = ["sh", "-c", "grep ^Cap /proc/self/status"]
    done = run(*namespaces, "--drop-caps", program=script)
    found = {line.split(":\t")[0]: int(line.split(":\t")[1], 16) for line in done.stdout.splitlines()}
    assert found == dict.fromkeys(CAPABILITIES, 0)


@pytest.mark.kernel
def test_no_new_privs(run: Run) -> None:
    program = ["grep", "NoNewPrivs", "/proc/self/status"]
    assert run("--no-new-privs", program=program).stdout.split() == ["NoNewPrivs:", "1"]
    assert run(program=program).stdout.split() == ["NoNewPrivs:", "0"]


@pytest.mark.kernel
@pytest.mark.parametrize("namespaces", ["mnt", "mnt,user"])
def test_hide(run: Run, tmp_path: Path, namespaces: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    (tmp_path / "file").write_text("secret")
    script = "ls -A secret; cat file; touch secret/x 2>/dev/null || echo read-only"
    done = run(
        f"--ns={namespaces}",
        f"--hide={tmp_path}/secret",
        f"--hide={tmp_path}/file",
        f"--hide={tmp_path}/absent",
        f"--hide={tmp_path}/file/below",
        program=["sh", "-c", script],
        cwd=tmp_path,
    )
    assert done.stdout == "read-only\n"
    assert (tmp_path / "secret/key").read_text() == "secret"


@pytest.mark.kernel
def test_hidden_working_directory_is_left(run: Run, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/key").write_text("secret")
    done = run(
        "--ns=mnt", f"--hide={tmp_path}", program=["sh", "-c", "pwd; ls ."], cwd=tmp_path / "inner"
    )
    assert done.stdout.startswith("/\n")
    assert "key" not in done.stdout


@pytest.mark.kernel
@pytest.mark.parametrize("namespaces", ["mnt", "mnt,user"])
def test_read_only(run: Run, tmp_path: Path, namespaces: str) -> None:
    (tmp_path / "fixed/inner").mkdir(parents=True)
    (tmp_path / "file").write_text("text")
    script = "touch new ../free; touch ../fixed/inner/new; echo x > ../file; cat ../file"
    done = run(
        f"--ns={namespaces}",
        f"--ro={tmp_path}/fixed",
        f"--ro={tmp_path}/file",
        f"--ro={tmp_path}/absent",
        program=["sh", "-c", script],
        cwd=tmp_path / "fixed",  # entered before it was read-only
    )
    assert done.stdout == "text"
    assert done.stderr.count("Read-only file system") == 3
    assert (tmp_path / "free").exists()


@pytest.mark.kernel
def test_read_only_root_and_all_mounts_below(run: Run, tmp_path: Path) -> None:
    script = f"touch {tmp_path}/x; touch /dev/shm/x; echo > /dev/null && echo device"
    done = run("--ns=mnt,user", "--ro=/", program=["sh", "-c", script])
    assert done.stdout == "device\n"
    assert done.stderr.count("Read-only file system") == 2


@pytest.mark.kernel
def test_mounts_stay_inside(run: Run, tmp_path: Path) -> None:
    run("--ns=mnt", program=["mount", "-t", "tmpfs", "x", str(tmp_path)])
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.kernel
def test_read_only_failure_is_reported(launcher: str) -> None:
    loop = tempfile.mkdtemp(prefix="cklaunch-")
    try:
        os.symlink("loop", f"{loop}/loop")
        status, report = report_of(
            launcher, "--ns=mnt", "--ro=/no/such", f"--ro={loop}/loop", program=["true"]
        )
    finally:
        shutil.rmtree(loop)
    assert (status, report) == (125, (READ_ONLY, 1, errno.ELOOP))


# --- cgroups --------------------------------------------------------------------------------------


def hierarchy_paths(text: str) -> dict[str, str]:
    return {controllers: path for _, controllers, path in (x.split(":", 2) for x in text.splitlines())}


@pytest.mark.kernel
@in_and_out
def test_born_in_v2(run: Run, boxes: Boxes, options: tuple[str, ...]) -> None:
    directory = boxes.v2()
    done = run(f"--v2={directory}", *options, program=["cat", "/proc/self/cgroup"])
    assert hierarchy_paths(done.stdout)[""] == f"/{boxes.name}"


@pytest.mark.kernel
@in_and_out
def test_joins_v1(run: Run, boxes: Boxes, options: tuple[str, ...]) -> None:
    directories = [boxes.v1("pids"), boxes.v1("freezer")]
    joins = [f"--v1={directory}" for directory in directories]
    done = run(*joins, *options, program=["cat", "/proc/self/cgroup"])
    paths = hierarchy_paths(done.stdout)
    for controllers, path in paths.items():
        if {"pids", "freezer"} & set(controllers.split(",")):
            assert path == f"/{boxes.name}"


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_cgroup_namespace_has_its_root_in_the_box(run: Run, boxes: Boxes, kind: str) -> None:
    _, options = boxes.any(kind)
    program = ["cat", "/proc/self/cgroup"]
    paths = hierarchy_paths(run(*options, f"--ns={SEVEN}", program=program).stdout)
    assert set(paths.values()) == {"/"}


@pytest.mark.kernel
def test_joins_v1_before_anything_else(launcher: str, boxes: Boxes) -> None:
    first, cpuset = boxes.v1("pids"), boxes.v1("cpuset")
    if Path(cpuset, "cpuset.cpus").read_text().strip():
        pytest.skip("new cpusets are not empty here (cgroup.clone_children)")
    status, report = report_of(launcher, f"--v1={first}", f"--v1={cpuset}", program=["true"])
    assert (status, report) == (125, (JOIN_V1, 1, errno.ENOSPC))


@pytest.mark.kernel
@every_kind
@pytest.mark.parametrize("namespaces", [(), ("--ns=pid",)], ids=["plain", "pid"])
def test_death_of_the_owner_ends_the_box(
    launcher: str, boxes: Boxes, kind: str, namespaces: tuple[str, ...]
) -> None:
    directory, options = boxes.any(kind)
    program = ["sh", "-c", "sleep 1000 & sleep 1000 & echo ready; trap '' TERM HUP; wait"]
    argv = [launcher, *options, *namespaces, "--owner=$$", "--", *program]
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in argv)
    script = quoted.replace("'--owner=$$'", "--owner=$$") + " & wait"
    owner = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"ready\n"
        inside = members(directory)
        assert len(inside) >= 3
        owner.kill()
    wait_until(lambda: not boxes.exist())
    wait_until(lambda: not any(map(is_running, inside)))
    wait_until(lambda: not running_with(boxes.name))


@pytest.mark.kernel
@every_kind
def test_nested_cgroups_are_removed(
    start: Callable[..., Any], boxes: Boxes, owner: subprocess.Popen[bytes], kind: str
) -> None:
    directory, options = boxes.any(kind)
    os.makedirs(f"{directory}/a/b")
    os.mkdir(f"{directory}/c")
    script = f"echo $$ > {directory}/a/b/cgroup.procs; echo ready; exec sleep 1000"
    process = start(*options, f"--owner={owner.pid}", program=["sh", "-c", script])
    assert process.stdout.readline() == "ready\n"
    owner.kill()
    assert process.wait(PATIENCE) == 125
    assert not boxes.exist()


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["v2", "v1-freezer"])
def test_frozen_box_ends_with_its_owner(
    start: Callable[..., Any], boxes: Boxes, owner: subprocess.Popen[bytes], kind: str
) -> None:
    _, options = boxes.any(kind)
    program = ["sh", "-c", "echo ready; exec sleep 1000"]
    process = start(*options, f"--owner={owner.pid}", program=program)
    process.stdout.readline()
    for directory in boxes.directories:
        for name, value in (("freezer.state", "FROZEN"), ("cgroup.freeze", "1")):
            if os.path.exists(f"{directory}/{name}"):
                Path(directory, name).write_text(value)
    owner.kill()
    process.wait(PATIENCE)
    assert not boxes.exist()


@pytest.mark.kernel
def test_hybrid_box_ends_with_its_owner(
    start: Callable[..., Any], boxes: Boxes, owner: subprocess.Popen[bytes]
) -> None:
    v2, v1 = boxes.v2(), boxes.v1("freezer")
    program = ["sh", "-c", "echo ready; exec sleep 1000"]
    process = start(f"--v2={v2}", f"--v1={v1}", f"--owner={owner.pid}", program=program)
    process.stdout.readline()
    assert members(v1) == members(v2) != []
    Path(v1, "freezer.state").write_text("FROZEN")
    owner.kill()
    process.wait(PATIENCE)
    assert not boxes.exist()


def test_owner_that_is_gone(launcher: str, tmp_path: Path) -> None:
    owner = subprocess.Popen(["true"])
    owner.wait()
    proof = tmp_path / "it-ran"
    expected = (125, (OWNER, 0, errno.ESRCH))
    program = ["touch", str(proof)]
    assert report_of(launcher, f"--owner={owner.pid}", program=program) == expected
    assert not proof.exists()


@pytest.mark.kernel
@every_kind
def test_owner_that_is_gone_leaves_no_cgroup(launcher: str, boxes: Boxes, kind: str) -> None:
    owner = subprocess.Popen(["true"])
    owner.wait()
    _, options = boxes.any(kind)
    report_of(launcher, *options, f"--owner={owner.pid}", program=["true"])
    assert not boxes.exist()


@pytest.mark.kernel
def test_root_of_a_hierarchy_is_never_ended(launcher: str) -> None:
    require_root()
    points = [(f"--v2={point}", point) for point, _ in mounts("cgroup2")]
    points += [(f"--v1={point}", point) for point, options in mounts("cgroup") if "pids" in options]
    bystander = subprocess.Popen(["sleep", "1000"])
    gone = subprocess.Popen(["true"])
    gone.wait()
    try:
        for option, point in points:
            root = Path(point)
            if not (root / "release_agent").exists() and (root / "cgroup.events").exists():
                pytest.skip("what is mounted here is not the root of the hierarchy")
            report_of(launcher, option, f"--owner={gone.pid}", program=["true"])
            assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def descriptors(pid: int) -> set[str]:
    """What a process has open, by the last word of each name."""
    names = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # it was closed meanwhile
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {re.split(r"[/:]", name.replace("[", "").replace("]", ""))[-1] for name in names}


DAEMON = "(setsid sleep 1000 </dev/null >/dev/null 2>&1 &); exit 4"


@pytest.mark.kernel
@every_kind
def test_watcher_ends_what_was_left_behind(
    run: Run, boxes: Boxes, owner: subprocess.Popen[bytes], kind: str
) -> None:
    directory, options = boxes.any(kind)
    done = run(*options, f"--owner={owner.pid}", program=["sh", "-c", DAEMON])
    assert done.returncode == 4
    [daemon] = members(directory)
    [watcher] = running_with(boxes.name)
    wait_until(lambda: descriptors(watcher) <= {"pidfd", "cgroup.events"})
    assert os.getsid(watcher) == watcher
    assert os.readlink(f"/proc/{watcher}/cwd") == "/"
    owner.kill()
    wait_until(lambda: not boxes.exist())
    wait_until(lambda: not is_running(daemon) and not is_running(watcher))


@pytest.mark.kernel
@every_kind
def test_watcher_goes_when_the_box_is_empty(
    run: Run, boxes: Boxes, owner: subprocess.Popen[bytes], kind: str
) -> None:
    directory, options = boxes.any(kind)
    run(*options, f"--owner={owner.pid}", program=["sh", "-c", DAEMON])
    [daemon] = members(directory)
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not running_with(boxes.name))
    assert boxes.exist()  # they are the owner's to remove


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_watcher_goes_when_the_box_is_removed(
    run: Run, boxes: Boxes, owner: subprocess.Popen[bytes], kind: str
) -> None:
    directory, options = boxes.any(kind)
    run(*options, f"--owner={owner.pid}", program=["sh", "-c", DAEMON])
    boxes_name = boxes.name
    for pid in members(directory):
        os.kill(pid, signal.SIGKILL)

    def removed() -> bool:
        for path in boxes.directories:
            with suppress(OSError):
                os.rmdir(path)
        return not boxes.exist()

    wait_until(removed)
    wait_until(lambda: not running_with(boxes_name))


@pytest.mark.kernel
@every_kind
def test_no_watcher_without_need(
    run: Run, boxes: Boxes, owner: subprocess.Popen[bytes], kind: str
) -> None:
    directory, options = boxes.any(kind)
    run(*options, f"--owner={owner.pid}", program=["true"])
    assert members(directory) == []
    wait_until(lambda: not running_with(boxes.name))


# --- death of the supervisor ----------------------------------------------------------------------


@contextmanager
def inner_pid(word: str) -> Iterator[Callable[[], list[int]]]:
    yield lambda: running_with(word)
    for pid in running_with(word):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@in_and_out
@pytest.mark.parametrize("extra", [(), ("--drop-caps",)], ids=["", "drop-caps"])
def test_program_dies_with_the_supervisor(
    start: Callable[..., Any], options: tuple[str, ...], extra: tuple[str, ...]
) -> None:
    if extra:
        require_root()
    word = f"1000.{os.getpid()}{next(serial)}"
    with inner_pid(word) as running:
        program = ["sh", "-c", f"echo ready; exec sleep {word}"]
        process = start(*options, *extra, program=program)
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.wait()
        wait_until(lambda: not running())


@contextmanager
def many(launcher: str, number: int, *options: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = [subprocess.Popen([launcher, *options, "--", "true"]) for _ in range(number)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.kernel
def test_killed_at_any_moment_nothing_remains(launcher: str, boxes: Boxes) -> None:
    directory = boxes.v2()
    options = (f"--v2={directory}", f"--ns={SEVEN}", "--proc")
    require(options)
    with many(launcher, 30, *options) as processes:
        for number, process in enumerate(processes):
            time.sleep(number / 20_000)
            process.kill()
    wait_until(lambda: members(directory) == [])


@pytest.mark.kernel
def test_many_at_once(launcher: str) -> None:
    options = (f"--ns={SEVEN}", "--proc")
    require(options)
    with many(launcher, 20, *options) as processes:
        assert [process.wait(PATIENCE) for process in processes] == [0] * 20
