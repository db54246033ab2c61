"""The same OCI resources through runc, crun and cgroupkit leave the same text in every file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from cgroupkit import Cgroup, Resources
from cgroupkit.controllers import CONTROLLERS, Setting, described
from cgroupkit.errors import CgroupKitError
from cgroupkit.hierarchy import host
from tests.engines import remove_upwards

pytestmark = pytest.mark.kernel

MIB = 1 << 20
PATIENCE = 120
Document = dict[str, Any]


# A container that sleeps


class Container:
    """Made by *tool* in the cgroup *path*; it has its own process numbers and mounts, no more."""

    def __init__(self, tool: str, directory: Path, path: str) -> None:
        self.tool = tool
        self.directory = directory
        self.path = path
        self.id = f"{tool}-{path.replace('/', '-')}"
        self.version = version_of(tool)
        self.process: psutil.Process | None = None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        state = self.directory / "state"
        # To a file: the container keeps what it inherits open.
        with (self.directory / "said").open("w+") as said:
            done = subprocess.run(
                [*around(self.tool), self.tool, "--root", str(state), *arguments],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                cwd=self.directory, timeout=PATIENCE, check=False,
            )  # fmt: skip
            said.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, said.read().strip())

    def start(self, resources: Document) -> str:
        """What the tool said if it could not; empty when all went well."""
        make_bundle(self.directory, self.path, resources)
        pid = self.directory / "pid"
        files = ["--bundle", str(self.directory), "--pid-file", str(pid)]
        done = self.run("run", "--detach", *files, self.id)
        if done.returncode:
            return done.stdout or f"status {done.returncode}"
        self.process = psutil.Process(int(pid.read_text()))
        return ""

    def update(self, resources: Document) -> str:
        """What the tool said if it refused."""
        file = self.directory / "resources.json"
        file.write_text(json.dumps(resources))
        done = self.run("update", "--resources", str(file), self.id)
        return (done.stdout or f"status {done.returncode}") if done.returncode else ""

    def cgroup(self) -> Cgroup:
        return Cgroup(self.path)

    def delete(self) -> None:
        self.run("delete", "--force", self.id)

    def ended(self) -> bool:
        try:
            return self.process is None or self.process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


def make_bundle(directory: Path, path: str, resources: Document) -> None:
    root = directory / "root"
    for name in ("proc", "dev", "usr"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    process = {"user": {"uid": 0, "gid": 0}, "args": ["/usr/bin/sleep", "1000"], "cwd": "/"}
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
    ]
    namespaces = [{"type": "pid"}, {"type": "mount"}]
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": "root"},
        "process": {"terminal": False, "env": ["PATH=/usr/bin"], **process},
        "mounts": mounts,
        "linux": {"cgroupsPath": path, "namespaces": namespaces, "resources": resources},
    }
    (directory / "config.json").write_text(json.dumps(config))


def around(tool: str) -> list[str]:
    """crun refuses machines where v2 has controllers beside v1: there it is not shown v2."""
    unified = host().unified
    if tool != "crun" or host().mode != "hybrid" or unified is None:
        return []
    hide = ["sh", "-c", 'umount "$0" && exec "$@"', unified.mount]
    return ["unshare", "--mount", "--propagation", "private", "--", *hide]


def version_of(tool: str) -> tuple[int, ...]:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return _version(tool)


@cache
def _version(tool: str) -> tuple[int, ...]:
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"version (\d+(\.\d+)*)", said)
    assert match, said
    return tuple(int(number) for number in match[1].split("."))


@pytest.fixture
def container(
    tool: str, cgroup: Cgroup, needs_root: None, tmp_path: Path, eventually: Callable[..., None]
) -> Iterator[Container]:
    made = Container(tool, tmp_path, f"{cgroup.name}/{tool}")
    kept = [h.directory(cgroup.name) for h in host().hierarchies if h.version == 1 and h.name]
    before = [directory for directory in kept if directory and not os.path.isdir(directory)]
    try:
        yield made
    finally:
        made.delete()
        # Both tools also make their cgroup in named hierarchies, and do not remove all of it.
        for directory in before:
            remove_upwards(f"{directory}/{tool}")
    eventually(made.ended, f"{made.process} lives on")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    left = [h.mount for h in host().hierarchies if os.path.isdir(f"{h.directory(made.path)}")]
    # crun leaves them where it could not start the container.
    assert not left or made.process is None


# What is in the files


def settings(cgroup: Cgroup, mounts: set[str]) -> dict[str, str]:
    """The text of every file that can be set, of every controller in the hierarchies *mounts*."""
    found: dict[str, str] = {}
    for branch in cgroup.branches:
        files = set()
        for kind in COMPARED if branch.hierarchy.mount in mounts else ():
            for part in kind(branch.version, branch.directory, cgroup.controller).parts():
                for line in described(type(part)):
                    source = line.sources[part.version] if isinstance(line, Setting) else None
                    files |= (
                        {os.path.basename(part.path(file)) for file in source.files}
                        if source
                        else set()
                    )
        for file in files - VIEWS:
            path = Path(branch.directory, file)
            if path.exists():
                # v1 has some files in every hierarchy.
                mount = branch.hierarchy.mount
                found[f"{mount}/{file}" if file in found else file] = path.read_text()
    return found


# A container's list of devices is not from the document alone.
COMPARED = [kind for name, kind in CONTROLLERS.items() if name != "devices"]
VIEWS = {"cpu.weight.nice"}
"""Another word for what another file says."""


# The documents


@attrs.frozen
class Scenario:
    needs: tuple[str, ...]
    version: int | None
    steps: tuple[Document, ...]
    ways: tuple[str, ...] = ("create", "update")


def steps(needs: str, *documents: Document, version: int | None = None) -> Scenario:
    return Scenario(tuple(needs.split()), version, documents)


def later(needs: str, *documents: Document) -> Scenario:
    """One of which the first step is not interesting."""
    return Scenario(tuple(needs.split()), None, documents, ("update",))


def memory(limit: int, swap: int, reservation: int) -> Document:
    sizes = {"limit": limit, "swap": swap, "reservation": reservation}
    return {"memory": {name: size * MIB for name, size in sizes.items()}}


def throttle(rate: int) -> Document:
    rates = {"ReadBps": rate, "WriteBps": rate * 2, "ReadIOPS": rate // 1024, "WriteIOPS": rate // 512}
    return {"blockIO": {f"throttle{name}Device": [{**DISK, "rate": n}] for name, n in rates.items()}}


DISK = {"major": "MAJOR", "minor": "MINOR"}
"""To be replaced by the numbers of the test's own."""

SCENARIOS = {
    "memory": steps("memory", memory(64, 128, 32), memory(32, 32, 16), memory(256, 512, 128)),
    "memory limit": later("memory", *({"memory": {"limit": n * MIB}} for n in (64, 32, 128))),
    "no memory limit": later(
        "memory", memory(64, 128, 32), {"memory": {"limit": -1, "swap": -1}}
    ),
    "no memory limit alone": later("memory", memory(64, 96, 32), {"memory": {"limit": -1}}),
    "swap alone": later("memory", memory(64, 96, 32), {"memory": {"swap": 128 * MIB}}),
    "no reservation": later("memory", memory(64, 64, 32), {"memory": {"reservation": -1}}),
    "swappiness": steps("memory", {"memory": {"swappiness": 40}}, version=1),
    "no OOM killer": steps("memory", {"memory": {"disableOOMKiller": True}}, version=1),
    "TCP memory": steps("memory", {"memory": {"kernelTCP": 32 * MIB}}, version=1),
    "shares": steps("cpu", *({"cpu": {"shares": n}} for n in (512, 2, 262144, 1024, 20))),
    "quota": steps(
        "cpu",
        {"cpu": {"quota": 50_000, "period": 100_000}},
        {"cpu": {"quota": 10_000, "period": 20_000}},
        {"cpu": {"quota": 400_000, "period": 200_000}},
        {"cpu": {"quota": 100_000}},
        {"cpu": {"period": 50_000}},
        {"cpu": {"quota": -1}},
    ),
    "burst": steps(
        "cpu",
        {"cpu": {"quota": 50_000, "period": 100_000, "burst": 40_000}},
        {"cpu": {"quota": 80_000, "burst": 80_000}},
        {"cpu": {"quota": 20_000, "burst": 10_000}},
    ),
    "idle": steps("cpu", {"cpu": {"idle": 1}}, {"cpu": {"idle": 0}}),
    "real time": steps("cpu", {"cpu": {"realtimePeriod": 500_000}}, version=1),
    "real time beyond the parent": steps("cpu", {"cpu": {"realtimeRuntime": 10_000}}, version=1),
    "cpuset": steps("cpuset", {"cpu": {"cpus": "0", "mems": "0"}}, {"cpu": {"cpus": "0-1"}}),
    "pids": steps("pids", *({"pids": {"limit": n}} for n in (50, 20, 200, -1))),
    "I/O weight": steps("io", {"blockIO": {"weight": 500}}, {"blockIO": {"weight": 10}}),
    "I/O weight of a disk": steps("io", {"blockIO": {"weightDevice": [{**DISK, "weight": 300}]}}),
    "throttled": steps("io", throttle(8 * MIB), throttle(1 * MIB), throttle(64 * MIB)),
    "no longer throttled": later("io", throttle(8 * MIB), throttle(0)),
    "huge pages": steps(
        "hugetlb",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 8 * MIB}]},
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 2**64 - 1}]},
    ),
    "network": steps(
        "net_cls net_prio",
        {"network": {"classID": 0x100001, "priorities": [{"name": "lo", "priority": 5}]}},
    ),
    "unified": steps(
        "memory cpu",
        {"unified": {"memory.high": f"{64 * MIB}", "memory.min": "4096", "cpu.weight": "77"}},
        {"unified": {"memory.high": "max", "memory.low": "1M"}},
        version=2,
    ),
    "everything": steps(
        "memory cpu cpuset pids io",
        {
            "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 60},
            **throttle(8 * MIB),
        },
        {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}, "cpu": {"shares": 2048}},
    ),
}  # fmt: skip


# Where they differ


def kept(document: Document, before: str) -> str:
    """It does not write that file."""
    return before


def linear(document: Document, before: str) -> str:
    return f"{1 + (document['cpu']['shares'] - 2) * 9999 // 262142}\n"


def always(text: str) -> Callable[[Document, str], str]:
    return lambda document, before: text


REFUSES, TAKES = "it refuses", "it takes"


@attrs.frozen
class Difference:
    """At certain steps *tool* leaves something else in *files*, and for good reason."""

    why: str
    tool: str
    at: str
    """A regular expression for what the steps are called: "update shares 0"."""
    files: str
    """Another one; or that the tool REFUSES what we take, or TAKES what we refuse."""
    theirs: Callable[[Document, str], str] = kept
    until: tuple[int, ...] = (999,)
    """The version of the tool that does it as we do."""
    since: tuple[int, ...] = (0,)
    version: int | None = None
    """Of cgroups."""
    bfq: bool | None = None
    """Only where the kernel has BFQ, or where it has not."""

    def expected(self, tool: Container, version: int, bfq: bool) -> bool:
        return (
            re.fullmatch(self.tool, tool.tool) is not None
            and self.since <= tool.version < self.until
            and self.version in (None, version)
            and self.bfq in (None, bfq)
        )


THROTTLES = r"io\.max|blkio\.throttle\..*_device"
DIFFERENCES = [
    Difference(
        "the older, linear formula for shares",
        "runc", "(create|update) (shares [034]|everything .)", r"cpu\.weight", linear,
        until=(1, 3, 2), version=2,
    ),
    Difference(
        "the older, linear formula for shares",
        "crun", "(create|update) (shares [034]|everything .)", r"cpu\.weight", linear,
        until=(1, 23), version=2,
    ),
    Difference(
        "it did not know burst",
        "runc", ".* burst .", r"cpu\.(cfs_burst_us|max\.burst)", until=(1, 2),
    ),
    Difference(
        "it did not know burst",
        "crun", ".* burst .", r"cpu\.(cfs_burst_us|max\.burst)", until=(1, 11),
    ),
    Difference(
        "it did not know idle, which changes the weight too",
        "runc", ".* idle 0", r"cpu\.(idle|shares|weight)", until=(1, 2),
    ),
    Difference(
        "runc ignores limits on kernel memory",
        "runc", ".* TCP memory .", r"memory\.kmem\.tcp\.limit_in_bytes",
    ),
    Difference(
        "runc update takes no more of memory than its sizes",
        "runc", "update (swappiness|no OOM killer) .", r"memory\.(swappiness|oom_control)",
    ),
    Difference(
        "runc update does not take huge pages and network",
        "runc", "update (huge pages|network) 0", r"hugetlb\.2MB\..*|net_cls.*|net_prio.*",
    ),
    Difference(
        "runc update did not take anything by disk",
        "runc", "update (throttled .|no longer throttled 0|everything .)", THROTTLES,
        until=(1, 3, 3),
    ),
    Difference(
        "runc update did not take anything by disk",
        "runc", "update I/O weight of a disk .", r"(blkio|io)\.bfq\.weight(_device)?",
        until=(1, 3, 3), bfq=True,
    ),
    Difference(
        "without BFQ runc leaves out weights by disk; we ask iocost, which is not enabled there",
        "runc", "(create|update) I/O weight of a disk .", TAKES, version=2, bfq=False,
    ),
    Difference(
        "without BFQ runc update left out weights by disk, on v1 too",
        "runc", "update I/O weight of a disk .", TAKES, until=(1, 3, 3), version=1, bfq=False,
    ),
    Difference(
        "no limit on memory alone is no limit on swap either",
        "runc", "update no memory limit alone 1", r"memory\.swap\.max", always("max\n"), version=2,
    ),
    Difference(
        "memory without a limit would be above memory with swap",
        "crun", "update no memory limit alone 1", REFUSES, version=1,
    ),
    Difference(
        "the limit on memory was forgotten, without which swap cannot be told from both",
        "runc", "update swap alone 1", REFUSES, until=(1, 2), version=2,
    ),
    Difference(
        "the limit on memory is not looked up, without which swap cannot be told from both",
        "crun", "update swap alone 1", REFUSES, version=2,
    ),
    Difference(
        "rate 0, no limit on v1, is written to io.max as it is",
        "runc", "update no longer throttled 1", REFUSES, since=(1, 3, 3), version=2,
    ),
    Difference(
        "rate 0, no limit on v1, is written to io.max as it is",
        "crun", "update no longer throttled 1", REFUSES, version=2,
    ),
    Difference(
        "no reservation becomes all the protection there is",
        "runc|crun", "update no reservation 1", r"memory\.low", always("max\n"), version=2,
    ),
    Difference(
        "it did not limit reservations of huge pages",
        "runc", "create huge pages .", r"hugetlb\.2MB\.rsvd\..*", until=(1, 1, 10),
    ),
    Difference(
        "crun does not limit reservations of huge pages",
        "crun", "(create|update) huge pages 0", r"hugetlb\.2MB\.rsvd\..*",
    ),
    Difference(
        "crun takes a quota without a period for one over 100 ms",
        "crun", "update quota 3", r"cpu\.max", always("100000 100000\n"), version=2,
    ),
    Difference(
        "crun takes a period without a quota for no quota",
        "crun", "update quota 4", r"cpu\.max", always("max 50000\n"), version=2,
    ),
    Difference("-1 was written as a large number",
               "crun", "update quota 5", REFUSES, until=(1, 8, 4), version=1),
    Difference("-1 was written as it is",
               "crun", "update pids 3", REFUSES, until=(1, 13), version=1),
    Difference("it knew only the files of CFQ, which is no more",
               "crun", ".* I/O weight.* .", REFUSES, until=(1, 8, 2), version=1, bfq=True),
]  # fmt: skip


# Side by side


@pytest.fixture
def bfq_disk(loop: Callable[[int], str]) -> Iterator[tuple[str, bool]]:
    """The number of a disk of our own, and whether it uses BFQ: where the kernel has it."""
    name = os.path.basename(loop(16 * MIB))
    scheduler = Path(f"/sys/block/{name}/queue/scheduler")
    choice = scheduler.read_text()
    bfq = "bfq" in choice
    if bfq:
        scheduler.write_text("bfq")
    yield Path(f"/sys/block/{name}/dev").read_text().strip(), bfq
    if bfq:
        scheduler.write_text(choice.partition("[")[2].partition("]")[0])


CASES = {f"{way} {name}": scenario for name, scenario in SCENARIOS.items() for way in scenario.ways}


@pytest.mark.parametrize("tool", ["runc", "crun"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_document_gives_the_same_files(
    tool: str, name: str, container: Container, cgroup: Cgroup, needs: Any, bfq_disk: tuple[str, bool]
) -> None:
    scenario, way = CASES[name], name.split(maxsplit=1)[0]
    version = 0
    for controller in scenario.needs:
        version = needs(controller, scenario.version).version
        if host().mode == "hybrid" and version == 2:
            pytest.skip(
                f"{tool} uses no controllers of v2 on a hybrid machine, as {controller} is here"
            )
    number, bfq = bfq_disk
    listed = [known for known in DIFFERENCES if known.expected(container, version, bfq)]
    numbers = dict(zip(('"MAJOR"', '"MINOR"'), number.split(":"), strict=True))
    text = re.sub("|".join(numbers), lambda match: numbers[match[0]], json.dumps(scenario.steps))
    ours = Cgroup.create(f"{cgroup.name}/ours")
    if way == "update" and (why := container.start({})):
        pytest.skip(f"{tool} cannot start a container here: {why.splitlines()[-1]}")
    for step, document in enumerate(json.loads(text)[: 1 if way == "create" else None]):
        known = [one for one in listed if re.fullmatch(one.at, f"{name} {step}")]
        before = texts(ours, ours) if way == "create" else texts(container.cgroup(), ours)
        said = container.start(document) if way == "create" else container.update(document)
        refused = None
        try:
            ours.update(**Resources.from_oci(document).asked())
        except CgroupKitError as error:
            refused = error
        if said or refused:
            verdict = None if said and refused else REFUSES if said else TAKES
            assert verdict in [one.files for one in known] or verdict is None, (said, refused)
            return
        here, there = texts(ours, container.cgroup()), texts(container.cgroup(), ours)
        differing = {file for file in here.keys() | there.keys() if here.get(file) != there.get(file)}
        used = set()
        for file in sorted(differing):
            reasons = [one for one in known if re.fullmatch(one.files, file)]
            assert reasons, f"{name} {step}: {file} is {there.get(file)!r}, ours {here.get(file)!r}"
            assert there[file] == reasons[0].theirs(document, before[file]), (file, reasons[0].why)
            used.add(reasons[0])
        assert used == set(known), [one.why for one in known if one not in used]


def texts(cgroup: Cgroup, other: Cgroup) -> dict[str, str]:
    """Of *cgroup*, in the hierarchies that *other* is in as well."""
    both = [{branch.hierarchy.mount for branch in one.branches} for one in (cgroup, other)]
    return settings(cgroup, both[0] & both[1])
