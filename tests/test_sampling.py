"""Sampler: what it reads is what stats() reads, on few descriptors, while cgroups come and go."""

from __future__ import annotations

import gc
import os
import resource
import signal
import threading
import time
import warnings
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import attrs
import pytest

from cgroupkit import Cgroup, Sampler, files
from cgroupkit.controllers import CpuStat, IoDevice, Pressure
from cgroupkit.controllers.flat import Flat
from cgroupkit.controllers.pressure import Stall
from cgroupkit.errors import InvalidValueError, NotFoundError
from cgroupkit.hierarchy import host
from cgroupkit.sampling import quick, rates
from cgroupkit.sampling.plan import Layout
from cgroupkit.sampling.sweep import Sweep
from cgroupkit.stats import MemoryStats, PressureStats, Stats


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def no_descriptor_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = descriptors()
    yield
    if not {"forked", "sleeper"} & set(request.fixturenames):
        assert descriptors() == before


@pytest.fixture(params=["c", "python"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Reads by C and by Python in turn."""
    if request.param == "python":
        monkeypatch.setattr(quick, "library", None)
    return str(request.param)


SETTLED = ("memory.max", "memory.stat", "memory.events", "memory.peak", "pids", "cpu_max", "io")


@pytest.mark.kernel
def test_the_accelerator_is_built() -> None:
    assert quick.library


@pytest.mark.kernel
@pytest.mark.usefixtures("reader")
def test_a_sample_is_what_stats_gives(cgroup: Cgroup, sleeper: Any, eventually: Any) -> None:
    sleeper(cgroup)
    with Sampler([cgroup]) as sampler:

        def agree() -> bool:
            """Until the process has settled, memory may change between the two."""
            before = time.monotonic_ns()
            (stats,) = sampler.sample().values()
            whole = cgroup.stats()
            assert type(stats) is Stats
            assert before <= stats.time_ns <= whole.time_ns
            return all(_leaf(stats, name) == _leaf(whole, name) for name in SETTLED)

        for _ in range(3):
            eventually(agree)
        (stats,) = sampler.sample().values()
        assert stats.cpu.extra.keys() == cgroup.stats().cpu.extra.keys()
        assert stats.host_cpu is not None
        assert stats.host_cpu.online == os.cpu_count()


def _leaf(stats: Any, name: str) -> Any:
    for part in name.split("."):
        stats = getattr(stats, part)
    return stats


@pytest.mark.kernel
@pytest.mark.usefixtures("reader")
def test_only_the_chosen_fields_are_read(cgroup: Cgroup, needs: Any) -> None:
    needs("pids")
    with Sampler([cgroup], fields=("pids.current",)) as sampler:
        (stats,) = sampler.sample().values()
        assert stats.pids.current == 0
        assert stats.pids.max is None
        assert stats.memory == MemoryStats()
        assert stats.cpu == CpuStat()
        assert stats.host_cpu is None
        assert sampler.descriptors == 1


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        (["memory.curent"], "memory.current"),
        (["cpus"], "cpu"),
        (["cpu.usage_usec"], "did you mean 'cpu' (its values are read together)"),
        (["memory.stat.anon"], "memory.stat"),
        ([], "name at least one"),
        ("cpu", "give a sequence"),
    ],
)
def test_an_unknown_field_gets_the_nearest_right_one(fields: Any, hint: str) -> None:
    with pytest.raises(InvalidValueError, match="fields") as caught:
        Sampler([], fields=fields)
    assert hint in str(caught.value)


@pytest.mark.parametrize("share", [0, -1, 1.5, True, "half"])
def test_a_share_is_checked(share: Any) -> None:
    with pytest.raises(InvalidValueError, match="share="):
        Sampler([], share=share)


@pytest.mark.parametrize("timeout", [-1, "soon", True, float("nan")])
def test_a_timeout_is_checked(timeout: Any) -> None:
    with Sampler([]) as sampler, pytest.raises(InvalidValueError, match="timeout="):
        sampler.sample(timeout=timeout)


def test_what_is_no_cgroup_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"one as \[cgroup\]"):
        Sampler("/docker")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="cgroups="):
        Sampler(["/docker"])  # type: ignore[list-item]


@pytest.mark.kernel
@pytest.mark.usefixtures("reader")
def test_a_cgroup_that_ends_is_absent_and_one_made_anew_gives_no_spike(cgroup: Cgroup) -> None:
    name = f"{cgroup.name}/inner"
    inner = Cgroup.create(name)
    with Sampler([cgroup, inner]) as sampler:
        first = sampler.sample()
        assert set(first) == {cgroup, inner}
        sampler.rates(first)
        inner.remove()
        assert set(sampler.sample()) == {cgroup}
        again = Cgroup.create(name)
        second = sampler.sample()
        assert set(second) == {cgroup, again}
        assert second[again].inodes != first[inner].inodes
        assert rates(first[inner], second[again]) is None
        assert set(sampler.rates(second)) == {cgroup}
        assert set(sampler.rates()) == {cgroup, again}


@pytest.mark.kernel
def test_rates_of_work(cgroup: Cgroup, sleeper: Any, eventually: Any) -> None:
    sleeper(cgroup, "sh", "-c", "while :; do :; done")
    with Sampler([cgroup], fields=("cpu",)) as sampler:
        assert sampler.rates() == {}

        def busy() -> bool:
            (rate,) = sampler.rates().values()
            return rate.cpu_cores is not None and 0.05 < rate.cpu_cores < (os.cpu_count() or 1) * 1.5

        eventually(busy)


def some(**values: Any) -> Stats:
    usage = values.pop("usage", 0)
    return Stats(cpu=CpuStat(usage_usec=usage, nr_periods=10, nr_throttled=4), **values)


def test_rates_by_hand() -> None:
    disk = IoDevice(rbytes=1000, wbytes=0, rios=1, wios=0)
    before = some(time_ns=0, io={"8:0": disk})
    after = attrs.evolve(
        some(time_ns=2_000_000_000, usage=3_000_000),
        cpu=CpuStat(usage_usec=3_000_000, nr_periods=20, nr_throttled=9),
        io={"8:0": IoDevice(rbytes=5000, rios=3), "8:16": IoDevice(rbytes=2000, rios=1)},
    )
    rate = rates(before, after)
    assert rate is not None
    assert (rate.seconds, rate.cpu_cores, rate.throttled) == (2, 1.5, 0.5)
    assert (rate.read_bytes, rate.reads, rate.written_bytes) == (3000, 1.5, 0)
    assert rate.faults is None


def stalled(usec: int) -> PressureStats:
    stall = Stall(avg10=0, avg60=0, avg300=0, total=usec)
    return PressureStats(cpu=Pressure(some=stall), memory=Pressure(some=stall, full=stall))


def test_pressure_as_a_share_of_the_time() -> None:
    before = some(time_ns=0, pressure=stalled(100))
    after = some(time_ns=10**9, pressure=stalled(250_100))
    rate = rates(before, after)
    assert rate is not None
    assert (rate.cpu_pressure, rate.memory_pressure, rate.io_pressure) == (0.25, 0.25, None)
    back = rates(attrs.evolve(after, time_ns=0), attrs.evolve(before, time_ns=10**9))
    assert back is not None
    assert back.cpu_pressure is None


def test_a_counter_that_was_reset_has_no_rate() -> None:
    rate = rates(some(time_ns=0, usage=5), some(time_ns=10**9, usage=4))
    assert rate is not None
    assert rate.cpu_cores is None
    assert rates(some(time_ns=5), some(time_ns=5)) is None


@pytest.mark.kernel
def test_a_tree_is_followed(cgroup: Cgroup) -> None:
    with Sampler.tree(cgroup.name, fields=("pids.current", "cpu")) as sampler:
        assert sampler.sample() == {}
        a, b = (Cgroup.create(f"{cgroup.name}/{name}") for name in "ab")
        deep = Cgroup.create(f"{cgroup.name}/a/deep")
        sampler.sample()
        assert set(sampler.sample()) == {a, b, deep}
        deep.remove()
        b.remove()
        assert set(sampler.sample()) == {a}
        Cgroup.create(f"{cgroup.name}/c")
        sampler.sample()
        assert {c.name.rpartition("/")[2] for c in sampler.sample()} == {"a", "c"}
        assert len(sampler) == 2
    with Sampler.tree(cgroup, depth=1) as children:
        Cgroup.create(f"{cgroup.name}/a/deep")
        children.sample()
        assert {c.name.rpartition("/")[2] for c in children.sample()} == {"a", "c"}


@pytest.mark.kernel
def test_a_tree_of_many_levels(cgroup: Cgroup, too_deep: int) -> None:
    directory = cgroup.path("pids")
    path = directory
    try:
        for _ in range(too_deep):
            path += "/a"
            os.mkdir(path)
        with Sampler.tree(cgroup, fields=("pids.current",)) as sampler:
            assert len(sampler.sample()) == too_deep
    finally:
        while path != directory:
            os.rmdir(path)
            path = os.path.dirname(path)


@pytest.mark.kernel
@pytest.mark.usefixtures("reader")
def test_hierarchies_that_come_and_go(cgroup: Cgroup, needs: Any) -> None:
    """As an engine makes and removes them, one after the other."""
    for controller in ("memory", "pids", "cpu"):
        needs(controller, 1)
    directories = {name: f"{cgroup.path(name)}/late" for name in ("pids", "memory", "cpu")}

    def only() -> list[bool]:
        (stats,) = sampler.sample().values()
        return [v is not None for v in (stats.pids.current, stats.memory.current, stats.cpu_max)]

    with Sampler.tree(cgroup, fields=("pids", "memory", "cpu_max")) as sampler:
        os.mkdir(directories["pids"])
        for _ in range(3):
            assert only() == [True, False, False]
        os.mkdir(directories["memory"])
        os.mkdir(directories["cpu"])
        assert only() == [True, True, True]
        os.rmdir(directories["memory"])
        sampler.sample()
        assert only() == [True, False, True]
        os.rmdir(directories["pids"])
        os.rmdir(directories["cpu"])
        assert sampler.sample() == {}


@pytest.mark.kernel
def test_a_renamed_cgroup_is_found_under_its_new_name(
    cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch, needs: Any
) -> None:
    needs("pids", 1)
    directory = cgroup.path("pids")
    monkeypatch.setattr("cgroupkit.sampling.sampler.ROUND_NS", 1000)
    os.mkdir(f"{directory}/old")
    with Sampler.tree(cgroup, fields=("pids.current",)) as sampler:
        sampler.sample()
        ((_, before),) = sampler.sample().items()
        os.rename(f"{directory}/old", f"{directory}/new")
        os.mkdir(f"{directory}/old")
        sampler.sample()
        names = {c.name.rpartition("/")[2]: stats for c, stats in sampler.sample().items()}
        assert names["new"].inodes == before.inodes
        assert names["old"].inodes != before.inodes


@pytest.mark.kernel
def test_a_tree_is_followed_where_others_take_the_descriptors(cgroup: Cgroup) -> None:
    kept = Cgroup.create(f"{cgroup.name}/kept")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with Sampler.tree(cgroup, fields=("pids.current", "cpu")) as sampler:
        assert set(sampler.sample()) == {kept}
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 20, hard))
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            for name in "ab":
                os.close(taken.pop())  # making one takes a descriptor
                Cgroup.create(f"{cgroup.name}/{name}")
                with suppress(OSError):
                    taken.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sampler.sample()
                names = {c.name.rpartition("/")[2] for c in sampler.sample()}
            assert names == {"kept", "a", "b"}
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.kernel
def test_a_tree_that_is_not_there(cgroup: Cgroup) -> None:
    with pytest.raises(NotFoundError, match="no cgroup"):
        Sampler.tree(f"{cgroup.name}/nowhere")
    with pytest.raises(InvalidValueError, match="depth="):
        Sampler.tree(cgroup, depth=0)


@pytest.mark.kernel
@pytest.mark.usefixtures("reader")
def test_what_may_not_be_read_is_not_known(cgroup: Cgroup, as_nobody: Any, needs: Any) -> None:
    needs("cpu"), needs("memory"), needs("pids")
    shut, some = (Cgroup.create(f"{cgroup.name}/{name}") for name in ("shut", "some"))
    Cgroup.create(f"{cgroup.name}/shut/inner")
    for branch in shut.branches:
        os.chmod(branch.directory, 0o700)
    usage = "cpu.stat" if some.cpu.version == 2 else "cpuacct.usage"
    os.chmod(f"{some.path('cpu' if some.cpu.version == 2 else 'cpuacct')}/{usage}", 0o600)
    fields = ("cpu", "memory.current", "pids.current")

    def read() -> dict[str, tuple[Any, ...]]:
        with Sampler.tree(cgroup, fields) as sampler:
            with pytest.warns(RuntimeWarning, match="EACCES"):
                sampler.sample()
            sampler.rates()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert set(sampler.rates()) == {shut, some}
                sample = sampler.sample()
        return {c.name: (s.cpu.usage_usec, s.memory.current, s.pids.current) for c, s in sample.items()}

    found = as_nobody(read)
    assert found[shut.name] == (None, None, None)
    assert found[some.name][0] is None
    assert None not in found[some.name][1:]


@pytest.mark.kernel
def test_too_few_descriptors_are_told_and_got_along_with(cgroup: Cgroup) -> None:
    cgroups = [Cgroup.create(f"{cgroup.name}/{number}") for number in range(30)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 60, hard))
    try:
        with Sampler(cgroups, fields=("cpu", "memory"), share=0.5) as sampler:
            with pytest.warns(RuntimeWarning, match=r"RLIMIT_NOFILE is .* Raise the limit to \d+"):
                assert set(sampler.sample()) == set(cgroups)
            assert 0 < sampler.descriptors <= (descriptors() + 60) * 0.5
            for _ in range(3):
                assert set(sampler.sample()) == set(cgroups)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            sampler.sample()
            assert len(sampler.sample()) == 30
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.kernel
def test_with_no_time_for_all_each_has_its_turn(cgroup: Cgroup) -> None:
    cgroups = [Cgroup.create(f"{cgroup.name}/{number}") for number in range(20)]
    with Sampler(cgroups) as sampler:
        whole = timed(sampler.sample)
        read: set[Cgroup] = set()
        for _ in range(1000):
            sample = sampler.sample(timeout=whole / 8)
            assert list(sample) == [c for c in cgroups if c in sample]
            read |= sample.keys()
            if len(read) == len(cgroups):
                break
        assert read == set(cgroups)
        assert list(sampler.sample()) == cgroups
        assert list(sampler.sample()) == cgroups


def timed(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


@pytest.mark.kernel
def test_warnings_that_are_errors_lose_no_descriptor(cgroup: Cgroup) -> None:
    cgroups = [Cgroup.create(f"{cgroup.name}/{number}") for number in range(10)]
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 40, hard))
    try:
        with Sampler(cgroups, fields=("cpu", "memory"), share=0.3) as sampler:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with pytest.raises(RuntimeWarning):
                    sampler.sample()
            assert sampler.descriptors == descriptors() - before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.kernel
def test_what_is_not_understood_is_left_out_and_told_once(
    cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = (Cgroup.create(f"{cgroup.name}/{name}") for name in ("bad", "good"))
    with Sampler([bad, good], fields=("pids.current", "cpu")) as sampler:
        sampler.sample()
        (watch,) = (w for c, w in sampler._watches.items() if c == bad)
        nonsense = file_of(b"many\n")
        try:
            for fd in watch.fds:
                os.dup2(nonsense, fd, inheritable=False)
            with pytest.warns(RuntimeWarning, match=r"/bad is left out: .*many"):
                assert set(sampler.sample()) == {good}
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert set(sampler.sample()) == {good}
        finally:
            os.close(nonsense)


@pytest.mark.kernel
@pytest.mark.usefixtures("reader")
def test_files_that_come_later_are_read(
    cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    """A controller, or pressure, that is turned on in a v2 cgroup."""
    unified = host().unified
    switch = f"{cgroup.branches[0].directory}/cgroup.pressure"
    if unified is None or not os.path.exists(switch):
        pytest.skip("no cgroup.pressure: v2 before 6.1, PSI is off, or no v2")
    monkeypatch.setattr("cgroupkit.sampling.sampler.ROUND_NS", 1000)
    files.write(switch, "0")
    with Sampler([cgroup], fields=("pressure.memory", "cpu")) as sampler:
        assert sampler.sample()[cgroup].pressure.memory is None
        files.write(switch, "1")
        eventually(lambda: sampler.sample()[cgroup].pressure.memory is not None)


@pytest.mark.kernel
def test_a_signal_handler_may_close_it_and_nothing_else(cgroup: Cgroup) -> None:
    told: list[str] = []

    def interrupt(*_: object) -> None:
        if not told:
            with pytest.raises(InvalidValueError, match="nothing but close"):
                sampler.sample()
        told.append("")
        sampler.close()

    sampler = Sampler([cgroup])
    sampler.sample()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with sampler._alone():  # where a signal may come at any moment
            signal.raise_signal(signal.SIGUSR1)
            assert told
        with pytest.raises(InvalidValueError, match="was closed"):
            sampler.sample()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.kernel
def test_interrupted_while_it_learns_it_goes_on(
    cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    if quick.library is None:
        pytest.skip("libquick.so is not built here")
    compile_group, left = quick.Program._group, [3]

    def interrupted(self: Any, *args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return compile_group(self, *args)

    with Sampler([cgroup]) as sampler:
        first = sampler.sample()[cgroup]
        monkeypatch.setattr(quick.Program, "_group", interrupted)
        for watch in sampler._watches.values():
            watch.layout.program._program.stale = 1
        with pytest.raises(KeyboardInterrupt):
            sampler.sample()
        gc.collect()
        assert sampler.sample()[cgroup].memory == first.memory


@pytest.mark.kernel
def test_a_fork_can_close_it_while_a_thread_samples(cgroup: Cgroup, forked: Any) -> None:
    with Sampler([cgroup]) as sampler:
        sampler.sample()
        stop = threading.Event()

        def hold() -> None:
            with sampler._lock:
                stop.wait(120)

        thread = threading.Thread(target=hold)
        thread.start()
        child = forked(lambda: (sampler.sample(), sampler.close()))
        try:
            assert child.go()
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("threads", [0, 17, 1.5, True, "many"])
def test_threads_are_checked(threads: Any) -> None:
    with pytest.raises(InvalidValueError, match="threads="):
        Sampler([], threads=threads)


@pytest.mark.kernel
def test_helpers_read_the_same(cgroup: Cgroup) -> None:
    cgroups = [Cgroup.create(f"{cgroup.name}/{number}") for number in range(100)]
    fields = ("pids", "memory.max", "cpu_max")
    with Sampler(cgroups, fields) as one, Sampler(cgroups, fields, threads=4) as four:
        one.sample()
        four.sample()
        cgroups[7].remove()
        cgroups[8].pids.max = 77
        alone, together = one.sample(), four.sample()
        assert cgroups[7] not in together
        assert together[cgroups[8]].pids.max == 77
        assert {c: attrs.evolve(s, time_ns=0) for c, s in together.items()} == {
            c: attrs.evolve(s, time_ns=0) for c, s in alone.items()
        }


@pytest.mark.kernel
def test_a_closed_sampler_says_so(cgroup: Cgroup) -> None:
    sampler = Sampler([cgroup])
    sampler.sample()
    sampler.close()
    sampler.close()
    with pytest.raises(InvalidValueError, match="was closed"):
        sampler.sample()


@pytest.mark.kernel
def test_threads_have_samplers_of_their_own(cgroup: Cgroup) -> None:
    cgroups = [Cgroup.create(f"{cgroup.name}/{number}") for number in range(8)]
    sizes: list[int] = []

    def work() -> None:
        with Sampler(cgroups) as sampler:
            sizes.extend(len(sampler.sample()) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [8] * 200


# What C makes of texts, against what Python does


@attrs.frozen(kw_only=True)
class Record:
    a: int | None = None
    whole: int | None = None
    part: int | None = None
    rest: int | None = None
    extra: dict[str, int] = attrs.field(factory=dict)


_FLAT = Flat(cls=CpuStat, divide={"usage_usec": 1000})


def through_c(layout: Layout, texts: list[bytes], tmp: Callable[[bytes], int]) -> Any:
    class Open:
        """What Sweep wants of a Watch."""

        def __init__(self) -> None:
            self.layout = layout
            self.inodes = (2,)
            self.fds = array("i", map(tmp, texts))

    watch: Any = Open()
    try:
        found = Sweep(1).read_one(watch, None)  # it learns keys
        assert found
        again = Sweep(1).read_one(watch, None)
        assert again
        assert attrs.evolve(again, time_ns=found.time_ns) == found
    finally:
        for fd in watch.fds:
            os.close(fd)
    return found


def file_of(text: bytes) -> int:
    fd = os.memfd_create("text")
    os.write(fd, text)
    return fd


V2_TEXTS = {
    "memory.max": [b"max\n", b"4096\n", b"0\n", b"9223372036854771712\n"],
    "memory.current": [b"0\n", b"18446744073709551\n", b"5"],
    "memory.stat": [
        b"anon 1\nfile 2\nnew_key 3\n",
        b"file 2\nanon 1\n",
        b"anon 1\nodd\nfile x\n",
        b"",
        b"anon 1",
        b"new.key 18446744073709551615\nanon 9999999999999999999\n",
        b"anon -1\nfile 7\n",
    ],
    "cpu": [b"usage_usec 7\nnr_periods 1\n", b"usage_usec 7\nuser_usec 1\ncore_sched.x 1\n"],
    "pids.events": [b"max 3\n", b"max 3\nother 4\n"],
}


@pytest.mark.parametrize("leaf", list(V2_TEXTS))
def test_c_and_python_agree(leaf: str) -> None:
    if not quick.library:
        pytest.skip("libquick.so is not built here")
    from cgroupkit.stats import LEAVES  # noqa: PLC0415

    class Fake:
        def __init__(self) -> None:
            from cgroupkit.sampling.plan import Place  # noqa: PLC0415

            source = LEAVES[leaf].line.sources[2]
            self.places = [Place(0, source.files[0])]
            self.leaves = {leaf: (source, {source.files[0]: 0})}

    plan: Any = Fake()
    layout = Layout(plan, (0,))
    for text in V2_TEXTS[leaf]:
        found = through_c(layout, [text], file_of)
        assert found == layout.stats([text], found.time_ns, (2,), None), text


def test_parts_add_up_to_the_whole() -> None:
    flat = Flat(cls=Record, also=("whole", "part", "rest"), shares=("whole", "part", "rest"))
    assert flat("a 1\nb 2\n", "100", "1", "3") == Record(
        a=1, whole=100, part=25, rest=75, extra={"b": 2}
    )
    assert flat("", "100", "0", "0") == Record(whole=100, part=100, rest=0)
    assert flat("", "100", "", "") == Record(whole=100)
    assert flat("", "", "", "") == Record()
