"""The command line: what it says, what it does, and how it ends."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager

import pytest

from cgroupkit import Cgroup, Sandbox, cli
from cgroupkit.cli import options, printing, running, stats
from cgroupkit.cli.parsing import seconds
from cgroupkit.controllers import Memory, Pids
from cgroupkit.errors import BusyError, CgroupKitError
from cgroupkit.hierarchy import host
from cgroupkit.stats import controller_of

PATIENCE = 120
"""Seconds; some of the machines that this runs on are emulated."""

COMMAND = [sys.executable, "-m", "cgroupkit"]

kernel = pytest.mark.kernel


def call(*words, **kwargs):
    """The command line as a program of its own: status, stdout, stderr."""
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=PATIENCE, check=False, **kwargs
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def inside(capsys):
    """The command line in this process: status, stdout, stderr."""

    def run(*words):
        status = cli.main(words)
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def cgroup():
    """A cgroup of the test's own, by a relative name."""
    name = f"cli-{uuid.uuid4().hex[:8]}"
    try:
        made = Cgroup.create(name)
    except CgroupKitError as error:
        pytest.skip(f"no cgroup can be created here: {error}")
    yield made
    if made.exists():
        made.kill()
        made.remove(recursive=True)


@pytest.fixture
def name(cgroup):
    return cgroup.name


@contextmanager
def sleeper(cgroup):
    process = subprocess.Popen(["sleep", "1000"])
    try:
        cgroup.attach(process.pid)
        yield process
    finally:
        process.kill()
        process.wait()


def need(controller):
    info = host().controllers[controller]
    if not info.available:
        pytest.skip(f"{controller}: {info.reason}")


# Words


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_each_command_has_an_example(inside, command):
    status, out, _ = inside(command, "--help")
    assert status == 0
    assert f"usage: cgroupkit {command}" in out
    assert re.search(rf"examples?:\s+cgroupkit {command}", out)


def test_help_names_every_command(inside):
    status, out, _ = inside("--help")
    assert status == 0
    for command in cli.COMMANDS:
        assert f"  {command} " in out


def test_version(inside):
    status, out, _ = inside("--version")
    assert (status, out.split()[0]) == (0, "cgroupkit")


def test_every_limit_has_a_flag_in_dockers_spelling(inside):
    _, out, _ = inside("update", "--help")
    for flag in (
        "-m", "--memory-swap", "--cpus", "-c", "--cpu-shares", "--cpuset-cpus", "--pids-limit",
        "--blkio-weight", "--kernel-memory", "--cpu-rt-runtime",
    ):  # fmt: skip
        assert f"{flag} " in out


def test_every_flag_is_explained():
    parser = cli.parsing.Parser(prog="x", description="")
    options.add(parser)
    unexplained = [a.dest for a in parser._actions if (a.help or "").startswith("Resources.")]
    assert not unexplained


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "name a command"),
        (["updat"], "did you mean update?"),
        (["frobnicate"], "the commands are"),
        (["run"], "name the command to run"),
        (["run", "--memory", "1G", "--"], "name the command to run"),
        (["run", "--bogus", "true"], "no option --bogus;"),
        (["run", "--memroy", "1G", "true"], "did you mean --memory?"),
        (["update", "--memroy=1G", "/x"], "did you mean --memory?"),
        (["run", "--mem", "1G", "true"], "--mem"),
        (["run", "--memory", "200X", "true"], "'200X'"),
        (["run", "--memory", "-5", "true"], "'-5'"),
        (["run", "--memory", "-5M", "true"], "--option=VALUE"),
        (["run", "--memory", "1e3M", "true"], "'1e3M'"),
        (["run", "--memory", "", "true"], "memory=''"),
        (["run", "--memory", "0", "true"], "memory='0' is not valid"),
        (["run", "--cpus", "nan", "true"], "'nan'"),
        (["run", "--cpus", "1", "--cpu-quota", "5000", "true"], "exclude each other"),
        (["run", "--memory", "2G", "--memory-swap", "1G", "true"], "memory_swap"),
        (["run", "--timeout", "0", "true"], "seconds above 0"),
        (["run", "--timeout", "soon", "true"], "seconds above 0"),
        (["run", "--isolate", "nett", "true"], "did you mean isolate=net?"),
        (["run", "--isolate", "foo", "true"], "the options are"),
        (["run", "--hostname", "x", "true"], "uts"),
        (["run", "--report", "/nonexistent/x", "true"], "--report /nonexistent/x"),
        (["update", "/x"], "at least one limit"),
        (["update", "--memory", "1G"], "NAME"),
        (["update", "--pids-limit", "1.5", "/x"], "'1.5'"),
        (["show"], "NAME"),
        (["show", ""], "empty name"),
        (["show", "0"], "above 0"),
        (["show", "/a/../b"], "leave the tree"),
        (["ls", "--depth", "-1"], "--depth"),
        (["stats", "--interval", "0"], "--interval"),
        (["freeze", "--timeout", "x", "/x"], "--timeout"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(inside, words, part):
    status, out, err = inside(*words)
    assert status == (125 if words[:1] == ["run"] else 2)
    assert out == ""
    assert err.startswith("cgroupkit: ")
    assert part in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["show", "/cgroupkit-test-absent"], "there is no cgroup"),
        (["show", "4194305"], "there is no process"),
        (["ls", "/cgroupkit-test-absent"], "there is no cgroup"),
        (["stats", "/cgroupkit-test-absent"], "there is no cgroup"),
        (["update", "-m", "1G", "/cgroupkit-test-absent"], "there is no cgroup"),
        (["kill", "4194305"], "there is no process"),
        (["thaw", "/cgroupkit-test-absent"], "there is no cgroup"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(inside, words, part):
    status, out, err = inside(*words)
    assert status == 1
    assert out == ""
    assert err.startswith("cgroupkit: ")
    assert part in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("1.5", 1.5), (".5", 0.5), ("5m", 300), ("2h", 7200), ("1d", 86400)],
)
def test_seconds(text, expected):
    assert seconds(text, "--timeout") == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "1e3", "inf", "nan", "m", "1.2.3", "٣", "9" * 20])
def test_seconds_refuses(text):
    with pytest.raises(ValueError, match="not valid"):
        seconds(text, "--timeout")


def test_names_cannot_command_the_terminal():
    assert printing.clean("a\x1b[2Jb\n") == "a\\x1b[2Jb\\n"
    assert printing.clean("größe") == "größe"


def test_long_names_are_shortened():
    container = "0123456789abcdef" * 4
    assert stats.short(f"/docker/{container}") == "/docker/0123456789ab"
    assert len(stats.short("/a" * 100)) == 36


def test_sizes_as_docker_stats_prints_them():
    assert [printing.decimal_size(n) for n in (None, 0, 999, 1500, 3_568_000)] == [
        "--", "0B", "999B", "1.5kB", "3.57MB",
    ]  # fmt: skip


def test_the_way_round_a_refused_update_is_a_flag(inside, monkeypatch):
    def refuse(cgroup, **options):
        raise BusyError(errno.EBUSY, "in use; pass check=False to do it all the same")

    monkeypatch.setattr(Cgroup, "update", refuse)
    status, _, err = inside("update", "-m", "1G", "/")
    assert (status, err) == (1, "cgroupkit: in use; give --force to do it all the same\n")


def test_run_imports_neither_rich_nor_psutil():
    code = (
        "import sys; from cgroupkit import cli; from cgroupkit.cli import run\n"
        "cli.main(['run', '--memory', 'x', 'true'])\n"
        "print(*{'rich', 'psutil', 'jeepney', 'json'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stderr.startswith("cgroupkit: memory='x'")
    assert done.stdout == "\n"


def test_a_reader_that_goes_away_is_no_error():
    shell = f"'{sys.executable}' -m cgroupkit --help | true"
    done = subprocess.run(
        ["sh", "-c", shell], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stderr == ""


def test_a_full_disk_is_an_error():
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [*COMMAND, "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "cgroupkit: cannot write the output: No space left on device\n"


def test_what_fails_for_want_of_descriptors_is_not_blamed_on_the_output():
    shell = f"ulimit -n 5; exec '{sys.executable}' -m cgroupkit run true"
    done = subprocess.run(
        ["sh", "-c", shell], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 125
    assert done.stderr.startswith("cgroupkit: ")
    assert "Too many open files" in done.stderr
    assert "output" not in done.stderr


# The machine


def test_doctor_ends_in_a_verdict():
    status, out, err = call("doctor")
    assert err == ""
    assert "You can create cgroups" in out if status == 0 else "You cannot create cgroups" in out
    for controller in host().controllers:
        assert f"\n  {controller} " in out


def test_doctor_json():
    status, out, _ = call("doctor", "--json")
    found = json.loads(out)
    assert found["able"] == (status == 0)
    assert found["mode"] == host().mode
    assert found["controllers"].keys() == host().controllers.keys()
    for info in found["controllers"].values():
        assert info["version"] or info["reason"]


def test_doctor_as_nobody_says_what_to_do():
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    code = (  # all is imported first: that user may not be let into the directory
        "import os; from cgroupkit import cli, systemd; import encodings.ascii, jeepney.io.blocking\n"
        "from cgroupkit.cli import doctor, parsing; import difflib, json, pwd, shutil\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); os.environ.pop('CGROUPKIT_PARENT', 0)\n"
        "raise SystemExit(cli.main(['doctor']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 1
    assert "You cannot create cgroups: " in done.stdout
    assert "delegated to it" not in done.stdout


def test_ls_json(inside):
    status, out, _ = inside("ls", "--json", "--depth", "0")
    (top,) = json.loads(out)
    assert status == 0
    assert (top["name"], top["depth"]) == ("/", 0)


def test_gc_dry_run_is_json(inside):
    status, out, _ = inside("gc", "--dry-run", "--json")
    assert status == 0
    assert isinstance(json.loads(out), list)


# A cgroup


@kernel
def test_update_and_show(inside, cgroup, name):
    need("memory")
    need("pids")
    assert inside("update", "-m", "64M", "--pids-limit", "7", name) == (0, "", "")
    assert (cgroup.memory.max, cgroup.pids.max) == (64 << 20, 7)
    status, out, _ = inside("show", "--json", name)
    shown = json.loads(out)
    assert status == 0
    assert shown["name"] == name
    assert shown["values"]["memory.max"] == 64 << 20
    assert shown["values"]["pids.max"] == 7
    assert os.path.exists(shown["files"]["memory.max"])
    status, out, _ = inside("show", name)
    assert re.search(r"memory\.max +67108864 \(64MiB\)", out)
    assert inside("update", "-m", "max", "--pids-limit", "0", name) == (0, "", "")
    assert (cgroup.memory.max, cgroup.pids.max) == (None, None)
    assert json.loads(inside("show", "--json", name)[1])["values"]["pids.max"] is None


@kernel
def test_relative_names_and_pids(inside, cgroup, name):
    relative = name.rpartition("/")[2]
    assert json.loads(inside("ls", "--json", relative)[1])[0]["name"] == name
    with sleeper(cgroup) as process:
        (found,) = json.loads(inside("ls", "--json", str(process.pid))[1])
        assert (found["name"], found["cgroup.procs"]) == (name, [process.pid])


@kernel
def test_one_bad_name_does_not_stop_the_rest(inside, cgroup, name):
    need("pids")
    status, _, err = inside("update", "--pids-limit", "9", "/cgroupkit-test-absent", name)
    assert status == 1
    assert "cgroupkit-test-absent" in err
    assert cgroup.pids.max == 9


@kernel
def test_a_limit_that_this_version_lacks(inside, cgroup, name):
    need("memory")
    words = ("--memory-swappiness", "60") if cgroup.memory.version == 2 else ("--memory-high", "60M")
    status, _, err = inside("update", *words, name)
    assert status == 1
    assert f"cgroup v{cgroup.memory.version} has no" in err


@kernel
def test_freeze_thaw_kill(inside, cgroup, name):
    with sleeper(cgroup) as process:
        assert json.loads(inside("ls", "--json", name)[1])[0]["frozen"] is False
        assert "FROZEN" not in inside("ls", name)[1]
        assert inside("freeze", name) == (0, "", "")
        assert cgroup.frozen
        assert json.loads(inside("ls", "--json", name)[1])[0]["frozen"] is True
        assert "FROZEN" in inside("ls", name)[1]
        assert json.loads(inside("show", "--json", name)[1])["frozen"] is True
        assert inside("show", name)[1].splitlines()[:2] == [name, "frozen   yes"]
        assert inside("thaw", str(process.pid)) == (0, "", "")
        assert not cgroup.frozen
        assert inside("kill", name) == (0, "", "")
        assert process.wait(PATIENCE) == -signal.SIGKILL


@kernel
def test_kill_refuses_the_root(inside):
    assert inside("kill", "/")[0] == 2


@kernel
def test_kill_refuses_its_own_cgroup(cgroup, name):
    waits = subprocess.Popen(
        ["sh", "-c", 'read _; exec "$@"', "sh", *COMMAND, "kill", name],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    cgroup.attach(waits.pid)
    _, err = waits.communicate("go\n", PATIENCE)
    assert (waits.returncode, "the calling process is inside" in err) == (2, True), err


@kernel
def test_ls_shows_limits(inside, cgroup, name):
    need("pids")
    cgroup.update(pids_limit=5)
    status, out, _ = inside("ls", name)
    assert status == 0
    assert out.splitlines()[0].split() == ["CGROUP", "PROCS", "STATE", "MEMORY", "LIMITS"]
    assert "pids 5" in out


@kernel
def test_stats_has_dockers_columns(inside, cgroup, name):
    with sleeper(cgroup):
        status, out, _ = inside("stats", "--no-stream", "--interval", "0.1", name)
        header, row = out.splitlines()
        assert status == 0
        assert re.split(" {2,}", header)[1:] == [
            "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS",
        ]  # fmt: skip
        assert len(re.split(" {2,}", row)) == 8
        status, out, _ = inside("stats", "--no-stream", "--interval", "0.1", "--json", name)
        (found,) = json.loads(out)
        assert found["name"] == name
        pids = controller_of(cgroup, Pids)
        assert found["pids"] == (None if pids is None else 1)
        assert (found["stats"]["cpu"]["usage_usec"] or 0) >= 0


@kernel
def test_stats_without_names_finds_what_runs(inside, cgroup, name):
    with sleeper(cgroup):
        _, out, _ = inside("stats", "--no-stream", "--interval", "0.1", "--json")
        assert name in [row["name"] for row in json.loads(out)]


@kernel
def test_stats_of_a_cgroup_that_vanishes(cgroup, name):
    with subprocess.Popen(
        [*COMMAND, "stats", "--interval", "0.1", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline().startswith("CGROUP")
        cgroup.remove()
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.startswith("cgroupkit: ")
    assert err.count("\n") == 1


# A command


def boxes(pid):
    """What is left in cgroupfs of the boxes of process *pid*."""
    left = []
    for hierarchy in host().hierarchies:
        for directory, names, _ in os.walk(hierarchy.mount):
            left += [f"{directory}/{name}" for name in names if name.startswith(f"box-{pid}-")]
    return left


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def box():
    """Skips where no box can be made: none of what follows could be told from that."""
    status, _, err = call("run", "--", "true")
    if status == 125:
        pytest.skip(f"no box can be made here: {err.strip()}")
    return lambda *words, **kwargs: call("run", *words, **kwargs)


@kernel
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["true"], 0),
        (["--", "false"], 1),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["--", "/nonexistent"], 127),
        (["--", "/etc/passwd"], 126),
        (["--timeout", "0.3", "--", "sleep", "1000"], 124),
        (["sh", "-c", "exit 2"], 2),
        (["--cpuset-cpus", "9999", "--", "true"], 125),
        (["--parent", "relative", "--", "true"], 125),
    ],
)
def test_run_ends_as_the_command_does(box, words, status):
    found, out, err = box(*words)
    assert (found, out) == (status, "")
    assert err == "" or (err.startswith("cgroupkit: ") and err.count("\n") == 1)
    assert bool(err) == (status in (124, 125, 126, 127))


@kernel
def test_run_passes_the_streams_and_arguments_through(box):
    assert box("cat", input="some text") == (0, "some text", "")
    assert box("--", "printf", "%s ", "--memory", "--", "x") == (0, "--memory -- x ", "")
    assert box("printf", "%s ", "a", "--", "b") == (0, "a -- b ", "")


@kernel
def test_run_says_when_memory_ended_it(box):
    need("memory")
    allocate = "x = bytearray(200 << 20)"
    status, _, err = box("--memory", "40M", "--", sys.executable, "-c", allocate)
    assert status == 137
    assert err.startswith("cgroupkit: out of memory: ")
    assert "limit 40MiB" in err


@kernel
def test_run_says_when_forks_were_refused(box):
    need("pids")
    fork = "import os, sys\ntry: os.fork()\nexcept OSError: sys.exit(1)"
    status, _, err = box("--pids-limit", "1", "--", sys.executable, "-c", fork)
    if (
        "pids.events" not in json.loads(call("show", "--json", "/")[1])["values"]
        and "out of" not in err
    ):
        pytest.skip("this kernel does not count refused forks")
    assert status == 1
    assert "out of processes: pids_limit (1) was reached" in err


@kernel
def test_run_stats_and_report(box, tmp_path):
    report = tmp_path / "report.json"
    status, _, err = box("--stats", "--report", str(report), "--", "sh", "-c", "exit 3")
    assert status == 3
    assert err.startswith("cgroupkit: exit status 3 after ")
    found = json.loads(report.read_text())
    assert (found["status"], found["verdict"], found["returncode"]) == (3, "exit", 3)
    assert found["args"] == ["sh", "-c", "exit 3"]
    assert set(found["usage"]) >= {"cpu", "memory", "pids", "io"}
    status, _, _ = box("--report", str(report), "--", "/nonexistent")
    assert json.loads(report.read_text())["status"] == status == 127


@kernel
def test_report_to_stdout_comes_after_the_commands_output(box):
    status, out, err = box("--report", "-", "echo", "some text")
    first, rest = out.split("\n", 1)
    assert (status, first, err) == (0, "some text", "")
    assert json.loads(rest)["args"] == ["echo", "some text"]


@kernel
def test_a_signal_before_the_start_is_reported(box, inside, tmp_path, monkeypatch):
    class Interrupted(running.Box):
        def __enter__(self):
            signal.raise_signal(signal.SIGTERM)
            return super().__enter__()

    monkeypatch.setattr(running, "Box", Interrupted)
    report = tmp_path / "report.json"
    status, out, err = inside("run", "--report", str(report), "--", "echo", "never")
    message = "SIGTERM came before the command was started"
    assert (status, out, err) == (143, "", f"cgroupkit: {message}\n")
    assert json.loads(report.read_text()) == {"status": 143, "error": message}


@kernel
def test_run_ends_what_the_command_left_behind(box):
    status, out, _ = box("--", "sh", "-c", "setsid sleep 1000 >&- 2>&- & echo $!")
    assert status == 0
    wait_until(lambda: _is_zombie(int(out)))


@contextmanager
def started(*words):
    process = subprocess.Popen(
        [*COMMAND, "run", "--", *words], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@kernel
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_run_ends_the_command_and_the_box(box, number):
    with started("sh", "-c", "echo ready; exec sleep 1000") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + number
        assert boxes(process.pid) == []


@kernel
def test_a_signal_lets_the_command_finish(box):
    with started("sh", "-c", "trap 'exit 9' TERM; sleep 1000 & echo ready; wait") as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(PATIENCE) == 9


@kernel
def test_a_second_signal_does_not_wait(box):
    with started("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done") as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        time.sleep(1)
        process.terminate()
        assert process.wait(PATIENCE) == 137
        assert boxes(process.pid) == []


@kernel
def test_the_death_of_run_ends_the_box(box):
    with started("sh", "-c", "echo $$; exec sleep 1000") as process:
        inner = int(process.stdout.readline())
        process.kill()
        process.wait()
        wait_until(lambda: _is_zombie(inner))
        wait_until(lambda: boxes(process.pid) == [] or call("gc")[0] == 0)
        assert boxes(process.pid) == []


def _is_zombie(pid):
    """Whether it has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@kernel
def test_gc_shows_and_removes_abandoned_boxes(inside, cgroup):
    """A box by the name of a process that is gone, with somebody inside."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    with Sandbox(parent=cgroup.name) as mine:
        name = re.sub(r"/box-\d+-", f"/box-{ended.pid}-", mine.cgroup.name)
    left = Cgroup.create(name)
    with sleeper(left) as process:
        status, out, _ = inside("gc", "--dry-run")
        assert status == 0
        assert f"{left.name}: abandoned, with 1 process\n" in out
        assert left.exists()
        status, out, _ = inside("gc", "--json")
        (record,) = (r for r in json.loads(out) if r["name"] == left.name)
        assert record == {"name": left.name, "procs": [process.pid], "removed": True, "error": None}
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not left.exists()
    assert left.name not in inside("gc")[1]


@kernel
def test_memory_below_what_is_in_use_needs_force(inside, cgroup, name):
    memory = controller_of(cgroup, Memory)
    if memory is None or memory.version == 1:
        pytest.skip("v1 refuses by itself, and has no --force")
    hold = "x = bytearray(64 << 20); print('ready', flush=True); import time; time.sleep(1000)"
    process = subprocess.Popen(
        ["sh", "-c", f'read _; exec "{sys.executable}" -c "{hold}"'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        cgroup.update(memory="256M", memory_swap="256M")
        cgroup.attach(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        status, _, err = inside("update", "-m", "16M", name)
        assert status == 1
        assert "give --force" in err
        assert "check=" not in err
        assert process.poll() is None
        assert inside("update", "-m", "16M", "--force", name)[0] == 0
        assert process.wait(PATIENCE) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@kernel
def test_the_processes_inside(inside, cgroup, name):
    below, beside = (Cgroup.create(f"{name}/{word}") for word in ("below", "beside"))
    with sleeper(below) as one, sleeper(beside) as two:
        found = json.loads(inside("ps", "--json", name)[1])
        assert [process["pid"] for process in found] == sorted([one.pid, two.pid])
        assert found[0]["command"][0].endswith("sleep")
        status, out, _ = inside("ps", name)
        assert (status, len(out.splitlines())) == (0, 3)
        assert out.split()[:7] == ["PID", "PPID", "USER", "STATE", "RSS", "TIME", "COMMAND"]


@kernel
def test_dockers_words_for_freezing(inside, cgroup, name):
    with sleeper(cgroup):
        assert inside("pause", name) == (0, "", "")
        assert cgroup.frozen
        assert inside("unpause", name) == (0, "", "")
        assert not cgroup.frozen


@kernel
def test_stats_as_docker_prints_json(inside, cgroup, name):
    with sleeper(cgroup):
        _, out, _ = inside("stats", "--no-stream", "--format", "json", "--interval", "0.1", name)
    (line,) = map(json.loads, out.splitlines())
    assert line.keys() == {
        "BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs",
    }  # fmt: skip
    assert line["PIDs"] == "1"


@kernel
def test_what_docker_update_has_and_this_cannot_do(inside, cgroup, name):
    status, _, said = inside("update", "--restart", "always", name)
    assert status == 2
    assert "supervise" in said and "docker update --restart" in said
    if host().controllers["memory"].version == 1:
        status, _, said = inside("update", "--kernel-memory", "50M", name)
        assert status in (0, 1, 2)
        assert ("5.16" in said) == (cgroup.memory.kmem_limit is None)


@kernel
def test_limits_by_disk_are_given_again_and_again(inside, cgroup, name):
    if not host().controllers["io"].available:
        pytest.skip("no io controller")
    options = ("--device-read-bps", "4095:77:5m", "--device-read-bps", "4095:78:5m")
    status, _, said = inside("update", *options, name)
    assert status == 2
    assert "4095:77" in said and "there is no such disk" in said


def test_a_name_of_neither_lists_what_there_is(inside):
    status, _, said = inside("show", "no-such-container-0")
    assert status == 1
    assert "no-such-container-0" in said and "no running container" in said


@kernel
def test_an_update_says_that_systemd_was_told(inside, cgroup, name, monkeypatch):
    told = []
    monkeypatch.setattr("cgroupkit.persist.unit_of", lambda cgroup: "web.scope")
    monkeypatch.setattr("cgroupkit.systemd.set_unit_properties", lambda *words: told.append(words))
    status, _, said = inside("update", "--pids-limit", "33", name)
    assert (status, told) == (0, [("web.scope", [("TasksMax", ("t", 33))])])
    assert "note: web.scope is a unit of systemd's, which was told" in said
