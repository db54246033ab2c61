"""cgroupkit top with real cgroups: printed, and in a terminal that is as it was afterwards."""

from __future__ import annotations

import codecs
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from cgroupkit import Cgroup, cli
from cgroupkit.cli.top.source import Source

PATIENCE = 120
"""Seconds; some of the machines that this runs on are emulated."""
COMMAND = [sys.executable, "-m", "cgroupkit", "top"]
ID = "0123456789abcdef" * 4

pytestmark = pytest.mark.kernel


@pytest.fixture
def inside(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: status, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(["top", *words])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture(autouse=True)
def same_limit_of_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


# Printed


def test_one_reading_is_printed_where_there_is_no_terminal(
    inside: Any, cgroup: Cgroup, sleeper: Any
) -> None:
    sleeper(Cgroup.create(f"{cgroup.name}/inner"))
    status, out, err = inside("--interval", "0.1", cgroup.name)
    assert (status, err) == (0, "")
    head, top, inner = out.splitlines()
    assert head.split()[:2] == ["CGROUP", "CPU%"]
    assert top.split()[0] == cgroup.name
    assert inner.split()[:2] == ["└─", "inner"]


def test_closed_output() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "-n1", "--interval=0.1", "--depth=1", "/"],
        stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_name_it_is_all_from_the_root_on(inside: Any, cgroup: Cgroup) -> None:
    status, out, _ = inside("--interval", "0.1", "--flat", "--sort", "name")
    found = [line.split()[0] for line in out.splitlines()[1:]]
    assert status == 0
    assert found[0] == "/"
    assert cgroup.name in found


def test_json(inside: Any, cgroup: Cgroup, sleeper: Any, needs: Any) -> None:
    needs("pids")
    inner = Cgroup.create(f"{cgroup.name}/inner", pids_limit=7)
    sleeper(inner)
    status, out, _ = inside("--json", "-n", "2", "--interval", "0.1", cgroup.name)
    assert status == 0
    first, second = [json.loads(line) for line in out.splitlines()]
    assert [row["name"] for row in first] == [cgroup.name, inner.name]
    assert (second[1]["pids_current"], second[1]["pids_max"]) == (1, 7)
    assert second[1]["cpu_cores"] is not None
    assert {"memory_current", "read_bytes", "io_pressure", "throttled", "container"} <= set(first[0])


def test_json_is_a_stream(cgroup: Cgroup) -> None:
    words = [*COMMAND, "--json", "--interval", "0.1", cgroup.name]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert json.loads(process.stdout.readline())[0]["name"] == cgroup.name
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("depth", "expected"), [("0", [""]), ("1", ["", "/a"]), ("2", ["", "/a", "/a/b"])]
)
def test_depth(inside: Any, cgroup: Cgroup, depth: str, expected: list[str]) -> None:
    Cgroup.create(f"{cgroup.name}/a/b")
    words = ("--depth", depth, "--json", "-n", "1", "--interval", "0.1", "--sort", "name", cgroup.name)
    _, out, _ = inside(*words)
    assert [row["name"] for row in json.loads(out)] == [cgroup.name + name for name in expected]


def test_names_that_lie_in_each_other_are_shown_once(inside: Any, cgroup: Cgroup, sleeper: Any) -> None:
    inner = Cgroup.create(f"{cgroup.name}/a")
    pid = sleeper(inner).pid
    words = ("--json", "-n", "1", "--interval", "0.1", inner.name, cgroup.name, str(pid))
    _, out, _ = inside(*words)
    assert [row["name"] for row in json.loads(out)] == [cgroup.name, inner.name]


def test_filter_and_order(inside: Any, cgroup: Cgroup) -> None:
    for name in ("b-x", "a-x", "c"):
        Cgroup.create(f"{cgroup.name}/{name}")
    words = ("--filter=-X", "--sort", "name", "-r", "--interval", "0.1", "--flat", cgroup.name)
    _, out, _ = inside(*words)
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        f"{cgroup.name}/b-x",
        f"{cgroup.name}/a-x",
    ]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--sort", "memry"], "did you mean memory?"),
        (["--sort", "MEM"], "did you mean memory?"),
        (["--sort", "xyzzy"], "one of cpu, memory, swap"),
        (["--interval", "0"], "--interval"),
        (["--interval", "0.01"], "0.1 seconds or more"),
        (["--depth", "-1"], "--depth"),
        (["-n", "0"], "--iterations"),
        (["-n", "many"], "--iterations"),
        (["--sortt", "cpu"], "did you mean --sort?"),
    ],
)
def test_what_cannot_be_meant(inside: Any, words: list[str], part: str) -> None:
    status, out, err = inside(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert part in err


def test_what_is_not_there(inside: Any) -> None:
    status, out, err = inside("/cgroupkit-test-absent")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "there is no cgroup" in err


# What is read


def rows(source: Source) -> dict[str, Any]:
    return {row.name: row for row in source.read().rows}


def test_cgroups_come_and_go(cgroup: Cgroup) -> None:
    with Source([cgroup.name], None) as source:
        assert not source.read().settled
        inner = Cgroup.create(f"{cgroup.name}/inner")
        rows(source)
        assert inner.name in rows(source)
        inner.remove()
        assert set(rows(source)) == {cgroup.name}
        cgroup.remove()
        assert rows(source) == {}
        Cgroup.create(cgroup.name)
        rows(source)
        assert set(rows(source)) == {cgroup.name}


def test_limits_and_rates(cgroup: Cgroup, forked: Any, needs: Any) -> None:
    needs("memory"), needs("cpu")
    cgroup.update(memory="50M", cpus=1.5)

    def burn() -> None:
        while time.process_time() < 0.3:
            pass

    child = forked(burn)
    cgroup.attach(child.pid)
    with Source([cgroup.name], None) as source:
        assert rows(source)[cgroup.name].cpu_cores is None
        assert child.go()
        row = rows(source)[cgroup.name]
    assert (row.memory_max, row.cpu_limit) == (50 << 20, 1.5)
    assert row.cpu_cores > 0
    assert row.memory_percent == pytest.approx(row.memory_current / (50 << 20) * 100, abs=0.01)


def test_what_may_not_be_read_is_not_known(cgroup: Cgroup, as_nobody: Any) -> None:
    shut = Cgroup.create(f"{cgroup.name}/shut")
    Cgroup.create(f"{cgroup.name}/open")
    for branch in shut.branches:
        os.chmod(branch.directory, 0o700)

    def read() -> tuple[list[str], bool]:
        with Source([cgroup.name], None) as source:
            found = rows(source)
            source.read()
        row = found[shut.name]
        return sorted(found), (row.cpu_cores, row.memory_current, row.pids_current) == (None,) * 3

    names, unknown = as_nobody(read)
    assert names == [cgroup.name, f"{cgroup.name}/open", shut.name]
    assert unknown


def test_containers_are_known(cgroup: Cgroup) -> None:
    Cgroup.create(f"{cgroup.name}/docker/{ID}/inside")
    with Source([cgroup.name], None) as source:
        found = rows(source)
        assert len(found) == 4
        assert [row.name for row in found.values() if row.container] == [f"{cgroup.name}/docker/{ID}"]
        late = Cgroup.create(f"{cgroup.name}/docker/{ID[::-1]}")
        source.read()
        assert rows(source)[late.name].container == ID[::-1]


def test_few_descriptors_are_no_reason_to_end(
    cgroup: Cgroup, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        Cgroup.create(f"{cgroup.name}/{number}")
    open_now = len(os.listdir("/proc/self/fd"))
    with Source([cgroup.name], None) as source:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 60, hard))
        assert len(rows(source)) == 11
    assert not recwarn.list


# In a terminal


class Screen:
    """As much of a terminal as is needed to know what one shows."""

    _TOKEN = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)|(\x1b)")

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], str] = {}
        self.alternate = False
        self.cursor = True
        self._x = self._y = 0

    def feed(self, text: str) -> None:
        for numbers, letter, control, plain, other in self._TOKEN.findall(text):
            assert not other, f"a sequence that is not known in {text!r}"
            if letter == "H":
                self._y, self._x = (int(n or 1) - 1 for n in [*numbers.split(";"), "1"][:2])
            elif letter == "J":
                self.cells.clear()
            elif letter in "hl" and numbers == "?1049":
                self.alternate = letter == "h"
                self.cells.clear()
            elif letter in "hl" and numbers == "?25":
                self.cursor = letter == "h"
            elif control:
                self._x, self._y = (0, self._y) if control == "\r" else (self._x, self._y + 1)
            for character in plain:
                self.cells[self._y, self._x] = character
                self._x += 1

    @property
    def text(self) -> str:
        height = max((y for y, _ in self.cells), default=-1) + 1
        width = max((x for _, x in self.cells), default=-1) + 1
        lines = ("".join(self.cells.get((y, x), " ") for x in range(width)) for y in range(height))
        return "\n".join(line.rstrip() for line in lines)


class Session:
    """A command in a terminal of its own."""

    def __init__(self, *words: str, size: tuple[int, int] = (30, 140), **environ: str) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, size)
        self.before = termios.tcgetattr(self.slave)
        self.screen = Screen()
        self.output = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.process = subprocess.Popen(
            ("setsid", "--ctty", *words),
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env={**os.environ, "TERM": "xterm-256color", **environ},
        )

    def read(self, seconds: float = 0.05) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        text = self.decoder.decode(os.read(self.master, 1 << 16))
        self.output += text
        # What is not complete yet waits for its end.
        self._rest = getattr(self, "_rest", "") + text
        whole = re.fullmatch(r"(.*?)(\x1b(?:\[[?\d;]*)?)?", self._rest, re.DOTALL)
        assert whole is not None
        self._rest = whole[2] or ""
        self.screen.feed(whole[1])
        return True

    def until(self, condition: Callable[[str], object]) -> str:
        """Read until the screen is as it should be."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self.screen.text):
            self.read()
            assert time.monotonic() < deadline, self.screen.text
        return self.screen.text

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Its status, once it has ended."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            self.read()
            assert time.monotonic() < deadline, "it does not end"
        while self.read(0.2):
            pass
        return self.process.returncode

    @property
    def restored(self) -> bool:
        same = termios.tcgetattr(self.slave) == self.before
        return same and self.screen.cursor and not self.screen.alternate

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for fd in (self.master, self.slave):
            with suppress(OSError):
                os.close(fd)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def start(*words: str, **options: Any) -> Session:
        sessions.append(Session(*words, **options))
        return sessions[-1]

    yield start
    for session in sessions:
        session.close()


@pytest.fixture
def top(terminal: Any, cgroup: Cgroup) -> Callable[..., Session]:
    """top(*words): it, showing a test's cgroups, when they are on the screen."""
    for name in ("apple", "apple/seed", "pear"):
        Cgroup.create(f"{cgroup.name}/{name}")

    def start(*words: str, **options: Any) -> Session:
        session: Session = terminal(*COMMAND, *words, cgroup.name, **options)
        session.until(lambda text: "pear" in text)
        assert session.screen.alternate and not session.screen.cursor
        return session

    return start


def test_keys(top: Any, cgroup: Cgroup) -> None:
    session = top("--interval", "0.2")
    session.until(lambda text: re.search(r"pear +0\.0", text))
    session.send("n")
    session.until(lambda text: re.search("by name.*apple.*seed.*pear", text, re.DOTALL))
    session.send("r")
    session.until(lambda text: re.search("by name, reversed.*pear.*apple.*seed", text, re.DOTALL))
    session.send("/SEED")
    session.until(lambda text: "filter: SEED" in text and "pear" not in text and "apple" in text)
    session.send("\r")
    session.until(lambda text: "  filter: SEED" in text.splitlines()[0])
    session.send("\x1b")
    session.until(lambda text: "pear" in text)
    session.send("t")
    session.until(lambda text: "/apple/seed" in text)
    session.send("\x1b[F")
    session.until(lambda text: text.splitlines()[-1] == cgroup.name)
    session.send("h")
    session.until(lambda text: "any key goes back" in text and "pear" not in text)
    session.send("x")
    session.until(lambda text: "pear" in text)
    Cgroup.create(f"{cgroup.name}/plum")
    session.until(lambda text: "plum" in text)
    session.send("q")
    assert session.end() == 0
    assert session.restored


def test_a_paused_screen_stays(top: Any, cgroup: Cgroup) -> None:
    session = top("--interval", "0.1")
    session.send(" ")
    session.until(lambda text: "PAUSED" in text)
    while session.read(0.5):
        pass
    seen = session.output
    assert not session.read(1)
    session.send("m")
    session.until(lambda text: "by memory" in text)
    assert len(session.output) > len(seen)
    session.send(" q")
    assert session.end() == 0


@pytest.mark.parametrize(
    ("way", "status"),
    [
        (signal.SIGTERM, 143),
        (signal.SIGINT, 0),
        (signal.SIGHUP, 129),
        (signal.SIGQUIT, 131),
        ("\x03", 0),
    ],
)
def test_whatever_ends_it_the_terminal_is_as_before(top: Any, way: Any, status: int) -> None:
    session = top()
    assert termios.tcgetattr(session.slave) != session.before
    if isinstance(way, str):
        session.send(way)
    else:
        session.process.send_signal(way)
    assert session.end() == status
    assert session.restored


@pytest.mark.parametrize("grows", [True, False])
def test_an_error_leaves_the_terminal_as_before(top: Any, cgroup: Cgroup, grows: bool) -> None:
    session = top("--interval", "0.1")
    resource.prlimit(session.process.pid, resource.RLIMIT_NOFILE, (4, 4))
    if grows:
        Cgroup.create(f"{cgroup.name}/one-more")
    assert session.end() == 1
    assert session.restored
    assert "raise RLIMIT_NOFILE" in session.output.replace("\r\n", " ")
    assert "Traceback" not in session.output


def test_many_descriptors(top: Any, cgroup: Cgroup) -> None:
    """select(2) would not take those above 1023."""
    for number in range(120):
        Cgroup.create(f"{cgroup.name}/z{number}")
    session = top("--interval", "0.2")
    session.until(lambda text: re.search("12[0-9] cgroups", text))
    session.send("n")
    session.until(lambda text: "by name" in text)
    assert len(os.listdir(f"/proc/{session.process.pid}/fd")) > 1023
    session.send("q")
    assert session.end() == 0


def test_it_ends_with_its_terminal(top: Any) -> None:
    session = top()
    os.close(session.slave)
    os.close(session.master)
    assert session.process.wait(PATIENCE) in (129, 1)


def test_a_narrow_window(top: Any) -> None:
    session = top()
    session.until(lambda text: "WRITE/s" in text)
    termios.tcsetwinsize(session.master, (10, 40))
    text = session.until(lambda text: "WRITE/s" not in text and "pear" in text)
    assert max(map(len, text.splitlines())) <= 40
    assert len(text.splitlines()) <= 10
    session.send("q")
    assert session.end() == 0


def test_ctrl_z_and_back(terminal: Any, cgroup: Cgroup) -> None:
    Cgroup.create(f"{cgroup.name}/pear")
    script = '"$@"; echo stopped; read answer; fg >/dev/null; echo back $?'
    session = terminal("sh", "-m", "-c", script, "sh", *COMMAND, cgroup.name)
    session.until(lambda text: "pear" in text)
    session.send("\x1a")
    session.until(lambda text: "stopped" in text)
    assert session.restored
    session.send("yes\n")
    session.until(lambda text: "pear" in text)
    assert session.screen.alternate
    session.send("q")
    session.until(lambda text: "back 0" in text)
    session.end()
    assert session.restored


def test_a_number_of_readings_leaves_the_last(top: Any) -> None:
    session = top("-n", "2", "--interval", "0.2")
    assert session.end() == 0
    assert session.restored
    assert "apple" in session.screen.text


def test_colours_only_where_they_are_wanted(top: Any) -> None:
    colour = re.compile(r"\x1b\[(?:\d+;)*3[1-7](?:;\d+)*m")
    coloured = top()
    coloured.send("q")
    coloured.end()
    assert colour.search(coloured.output)
    plain = top(NO_COLOR="1")
    plain.send("q")
    plain.end()
    assert not colour.search(plain.output)


def test_a_dumb_terminal_gets_one_reading(terminal: Any, cgroup: Cgroup) -> None:
    session = terminal(*COMMAND, "--interval", "0.1", cgroup.name, TERM="dumb")
    assert session.end() == 0
    assert cgroup.name in session.output
    assert "\x1b" not in session.output


def test_names_cannot_command_the_terminal(top: Any, cgroup: Cgroup) -> None:
    Cgroup.create(f"{cgroup.name}/\x1b]0;evil\x07")
    session = top()
    session.until(lambda text: "\\x1b]0;evil\\x07" in text)
    session.send("q")
    assert session.end() == 0
    assert "\x1b]" not in session.output
