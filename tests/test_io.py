"""io: limits by disk, in the files and on a real disk."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup, disks
from cgroupkit.controllers import Io, IoCostModel, IoCostQos, IoDevice, IoLatency, IoMax
from cgroupkit.errors import CgroupKitError, FeatureError, InvalidValueError, UnsupportedError

MIB = 1 << 20
BLOCK = 256 * 1024

# Texts that the recorded kernels did not have to print


def read(tmp_path: Path, version: int, attribute: str, **texts: str) -> Any:
    for file, text in texts.items():
        (tmp_path / file.replace("__", ".")).write_text(text)
    io: Any = Io(version, str(tmp_path), lambda _: io)
    return getattr(io, attribute)


def test_io_max_is_read(tmp_path: Path) -> None:
    text = (
        "8:16 rbps=2097152 wbps=max riops=max wiops=120\n"
        "8:0 rbps=max wbps=1 riops=max wiops=max new=7\n"
    )
    found = read(tmp_path, 2, "max", io__max=text)
    assert found == {"8:16": IoMax(rbps=2 * MIB, wiops=120), "8:0": IoMax(wbps=1)}
    assert found["8:0"].extra == {"new": "7"}


def test_the_limits_of_v1_are_read_from_four_files(tmp_path: Path) -> None:
    found = read(
        tmp_path, 1, "max",
        blkio__throttle__read_bps_device="8:0 5242880\n",
        blkio__throttle__write_bps_device="8:0 1\n8:16 7\n",
        blkio__throttle__read_iops_device="",
        blkio__throttle__write_iops_device="8:16 100\n",
    )  # fmt: skip
    assert found == {"8:0": IoMax(rbps=5 * MIB, wbps=1), "8:16": IoMax(wbps=7, wiops=100)}


def test_stat_by_disk(tmp_path: Path) -> None:
    text = (
        "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0 cost.usage=9\n"
        "7:0 7:1 8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n"
    )
    found = read(tmp_path, 2, "stat", io__stat=text)
    assert found["8:16"].rios == 192
    assert found["8:16"].extra == {"cost.usage": "9"}
    assert found["7:0"] == found["7:1"] == IoDevice()
    assert found["8:0"] == IoDevice(rbytes=1, wbytes=2, rios=3, wios=4, dbytes=5, dios=6)


def test_stat_by_operation_on_v1(tmp_path: Path) -> None:
    text = (
        "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:0 Async 0\n8:0 Discard 5\n8:0 Total 35\nTotal 35\n"
    )
    files = {f"blkio__throttle__io_{name}_recursive": text for name in ("service_bytes", "serviced")}
    assert read(tmp_path, 1, "stat", **files) == {
        "8:0": IoDevice(rbytes=10, wbytes=20, dbytes=5, rios=10, wios=20, dios=5)
    }
    found = read(tmp_path, 1, "throttle_io_serviced_recursive")
    assert found["8:0"]["Sync"] == 30
    assert found["Total"] == {"Total": 35}


def test_weights_by_disk(tmp_path: Path) -> None:
    text = "default 150\n8:0 200\n8:16 1\n"
    assert read(tmp_path, 2, "weight", io__weight=text) == 150
    assert read(tmp_path, 2, "weight_device", io__weight=text) == {"8:0": 200, "8:16": 1}


def test_iocost(tmp_path: Path) -> None:
    text = "8:16 enable=1 ctrl=auto rpct=95.00 rlat=75000 wpct=95.00 wlat=150000 min=50.00 max=150.0\n"
    assert read(tmp_path, 2, "cost_qos", io__cost__qos=text) == {
        "8:16": IoCostQos(
            enable=True, ctrl="auto", rpct=95.0, rlat=75000, wpct=95.0, wlat=150000, min=50.0, max=150.0
        )
    }
    text = (
        "8:16 ctrl=auto model=linear rbps=2706339840 rseqiops=89698 rrandiops=110036 "
        "wbps=1063126016 wseqiops=135560 wrandiops=130734\n"
    )
    found = read(tmp_path, 2, "cost_model", io__cost__model=text)
    assert found["8:16"].ctrl == "auto"
    assert found["8:16"].wrandiops == 130734


def test_what_is_written_names_the_keys_given(tmp_path: Path) -> None:
    disk = disks.disk_of(DISK)
    io: Any = Io(2, str(tmp_path), lambda _: io)
    (tmp_path / "io.cost.qos").write_text("")
    (tmp_path / "io.latency").write_text("7:77 target=5\n")
    [step] = Io.cost_qos.steps(io, {DISK: IoCostQos(enable=True, rpct=95, rlat=5000)})
    assert step.text == f"{disk.number} enable=1 rpct=95.00 rlat=5000"
    [step] = Io.cost_model.changes(io, {DISK: {"ctrl": "auto"}}, "x")
    assert step.text == f"{disk.number} ctrl=auto"
    texts = [step.text for step in Io.latency.steps(io, {DISK: IoLatency(target=75000)})]
    assert texts == ["7:77 target=max", f"{disk.number} target=75000"]
    assert IoCostModel() != IoCostQos()


DISK = next(
    Path(f"{disk}/dev").read_text().strip()
    for disk in sorted(Path("/sys/block").iterdir())
    if not disk.name.startswith(("loop", "ram", "zram"))
)


# The files of this kernel


@pytest.fixture
def io(cgroup: Cgroup, needs: Any) -> Io:
    needs("io")
    return cgroup.io


@pytest.mark.kernel
def test_setting_a_mapping_replaces_the_whole(io: Io, loop: Callable[[int], str]) -> None:
    device = loop(MIB)
    number = disks.disk_of(device).number
    io.max = {device: IoMax(rbps=MIB, wiops=50), DISK: {"wbps": "2M"}}
    assert io.max == {number: IoMax(rbps=MIB, wiops=50), DISK: IoMax(wbps=2 * MIB)}
    io.max = {device: {"riops": 5}}
    assert io.max == {number: IoMax(riops=5)}
    io.max = {}
    assert io.max == {}


@pytest.mark.kernel
def test_an_update_changes_what_it_names(cgroup: Cgroup, io: Io) -> None:
    cgroup.update(device_read_bps={DISK: "5M"}, device_write_iops={DISK: 100})
    cgroup.update(device_write_bps=f"{DISK}:1m", device_read_bps={DISK: 0})
    assert io.max == {DISK: IoMax(wbps=MIB, wiops=100)}
    cgroup.update(device_write_bps={DISK: -1}, device_write_iops={DISK: "max"})
    assert io.max == {}


@pytest.mark.kernel
def test_an_update_that_fails_leaves_the_disks_as_they_were(
    cgroup: Cgroup, io: Io, refused_at_last: Any
) -> None:
    cgroup.update(device_read_bps={DISK: "5M"})
    with pytest.raises(CgroupKitError, match="nothing was changed"):
        cgroup.update(
            device_read_bps={DISK: "7M"}, device_write_bps={DISK: "7M"}, **refused_at_last(cgroup)
        )
    assert io.max == {DISK: IoMax(rbps=5 * MIB)}


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ({"4095:77": IoMax()}, "there is no such disk"),
        ({"/dev/null": IoMax()}, "neither a block device nor a mount point"),
        ({DISK: {"rbps": 0}}, "no limit"),
        ({DISK: {"rbps": "5X"}}, "give bytes"),
        ({DISK: {"riops": 2**32}}, "4294967295"),
        ({DISK: {"bps": 5}}, "some of rbps, wbps, riops, wiops"),
        ({DISK: 5}, "give a IoMax, or a mapping"),
        ({DISK: {}}, "give a IoMax, or a mapping"),
        ([DISK], "give a mapping"),
        (5, "give a mapping"),
    ],
)
def test_what_is_no_limit_is_refused(io: Io, value: Any, accepted: str) -> None:
    with pytest.raises(InvalidValueError, match=r"io\.max") as caught:
        io.max = value
    assert accepted in str(caught.value)
    assert io.max == {}


@pytest.mark.kernel
def test_a_disk_that_vanishes(io: Io, loop: Callable[[int], str]) -> None:
    """Its limits go with it, and the file reads as before."""
    device = loop(MIB)
    io.max = {device: IoMax(rbps=MIB)}
    assert len(io.max) == 1
    assert all(isinstance(limits, IoMax) for limits in io.max.values())


@pytest.mark.kernel
def test_a_weight_by_disk_takes_what_gives_it_effect(io: Io) -> None:
    option = "bfq_weight_device" if io.version == 1 else "weight_device"
    try:
        setattr(io, option, {DISK: 200})
    except FeatureError as error:
        assert "BFQ" in str(error) or "iocost" in str(error)
    except UnsupportedError as error:
        pytest.skip(str(error))
    else:
        assert getattr(io, option) == {DISK: 200}
        setattr(io, option, {})
    assert getattr(io, option) == {}


@pytest.mark.kernel
def test_weights_on_a_disk_that_uses_bfq(cgroup: Cgroup, io: Io, bfq_disk: str) -> None:
    cgroup.update(blkio_weight=300, blkio_weight_device={bfq_disk: 200})
    assert io.bfq_weight == 300
    assert io.bfq_weight_device == {bfq_disk: 200}
    io.bfq_weight_device = {}
    assert io.bfq_weight_device == {}


@pytest.mark.kernel
def test_a_default_weight_that_is_taken_back_brings_the_others_back(
    everywhere: Cgroup, needs: Any, bfq_disk: str, refused_at_last: Any
) -> None:
    """BFQ forgets the weights by disk when the default one is written."""
    needs("io")
    io = everywhere.io
    everywhere.update(blkio_weight_device={bfq_disk: 200})
    with pytest.raises(CgroupKitError, match="nothing was changed"):
        everywhere.update(blkio_weight=500, **refused_at_last(everywhere))
    assert io.bfq_weight == 100
    assert io.bfq_weight_device == {bfq_disk: 200}


@pytest.mark.kernel
def test_iocost_on_a_disk(cgroup: Cgroup, io: Io, loop: Callable[[int], str]) -> None:
    """Its files are those of the root alone; the disk is our own."""
    root = Cgroup("/").io
    if root.version == 1 or not root.has("io.cost.qos"):
        pytest.skip("no io.cost.qos here")
    device = loop(MIB)
    number = disks.disk_of(device).number
    others = {key: qos for key, qos in root.cost_qos.items() if key != number}
    with pytest.raises(FeatureError, match="iocost"):
        io.weight_device = {device: 300}
    step = Io.cost_qos.changes(root, {device: IoCostQos(enable=True, rpct=95, rlat=5000)}, "x")
    step[0].take()
    assert root.cost_qos[number].enable is True
    assert root.cost_qos[number].rpct == 95.0
    assert root.cost_model[number].ctrl == "auto"
    cgroup.update(blkio_weight_device={device: 500})
    assert io.weight_device == {number: 4950}
    io.weight_device = {}
    assert io.weight_device == {}
    root.cost_qos = {**others, device: IoCostQos(enable=False)}
    assert root.cost_qos[number].enable is False


@pytest.mark.kernel
def test_figures_can_be_reset_on_v1(io: Io) -> None:
    if io.version == 2:
        with pytest.raises(UnsupportedError, match=r"io\.stat"):
            io.reset_stats()
    else:
        io.reset_stats()


# On a real disk

RATE = 5 * MIB


def transfer(device: str, flags: int, amount: int) -> float:
    """Seconds that it takes to read or write so much of *device*."""
    buffer = mmap.mmap(-1, BLOCK)
    buffer[:8] = b"cgroupkt"
    fd = os.open(device, flags)
    try:
        start = time.monotonic()
        for offset in range(0, amount, BLOCK):
            if flags & os.O_WRONLY:
                os.pwrite(fd, buffer, offset)
            else:
                os.preadv(fd, [buffer], offset)
        if not flags & os.O_DIRECT and flags & os.O_WRONLY:
            os.fsync(fd)
        return time.monotonic() - start
    finally:
        os.close(fd)


def measured(
    cgroup: Cgroup, forked: Any, tmp_path: Path, device: str, flags: int, amount: int
) -> float:
    """Bytes a second of a process inside."""
    answer = tmp_path / "seconds"

    def work() -> None:
        answer.write_text(str(transfer(device, flags, amount)))

    child = forked(work)
    cgroup.attach(child.pid)
    assert child.go()
    child.end()
    return amount / float(answer.read_text())


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("option", "flags"),
    [
        ("device_read_bps", os.O_RDONLY | os.O_DIRECT),
        ("device_write_bps", os.O_WRONLY | os.O_DIRECT),
        ("device_read_bps", os.O_RDONLY),
        ("device_write_bps", os.O_WRONLY),
    ],
    ids=["direct-read", "direct-write", "buffered-read", "buffered-write"],
)
def test_a_limit_holds(
    cgroup: Cgroup, io: Io, loop: Any, forked: Any, tmp_path: Path, option: str, flags: int
) -> None:
    """5 MiB/s within 20 %. A busy machine may be slower: then once more."""
    if io.version == 1 and flags == os.O_WRONLY:
        pytest.skip("v1 does not know whose buffered writes they are")
    device = loop(64 * MIB)
    cgroup.update(**{option: {device: RATE}})  # type: ignore[misc]
    for _ in range(4):
        rate = measured(cgroup, forked, tmp_path, device, flags, 10 * MIB)
        assert rate < 1.2 * RATE, f"{rate / MIB:.1f} MiB/s"
        if rate > 0.8 * RATE:
            break
    assert rate > 0.8 * RATE, f"{rate / MIB:.1f} MiB/s"
    stat = io.stat[disks.disk_of(device).number]
    assert (stat.rbytes if "read" in option else stat.wbytes) >= 10 * MIB


@pytest.mark.kernel
def test_operations_are_limited(cgroup: Cgroup, io: Io, loop: Any, forked: Any, tmp_path: Path) -> None:
    device = loop(64 * MIB)
    cgroup.update(device_read_iops={device: 20})
    flags = os.O_RDONLY | os.O_DIRECT
    assert measured(cgroup, forked, tmp_path, device, flags, 40 * BLOCK) < 1.2 * 20 * BLOCK
