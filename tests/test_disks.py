"""Which disk is meant."""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import disks
from cgroupkit.disks import Disk, PartitionWarning, disk_of, parse_number
from cgroupkit.errors import InvalidValueError

SYS = Path("/sys/dev/block")


def real() -> list[Path]:
    return [d for d in sorted(Path("/sys/block").iterdir()) if int((d / "size").read_text())]


@pytest.fixture
def disk() -> Disk:
    found = real()
    if not found:
        pytest.skip("no disk in /sys/block")
    return Disk((found[0] / "dev").read_text().strip(), found[0].name)


@pytest.fixture
def partition(loop: Callable[..., str]) -> Iterator[tuple[Disk, str]]:
    """A loop device with one partition, and the partition's number."""
    disk = disk_of(loop(8 << 20))
    done = subprocess.run(
        ["addpart", f"/dev/{disk.name}", "1", "2048", "8192"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no partition can be made on a loop device: {done.stderr.strip()}")
    yield disk, Path(f"/sys/block/{disk.name}/{disk.name}p1/dev").read_text().strip()
    subprocess.run(["delpart", f"/dev/{disk.name}", "1"], check=True)


def test_by_number(disk: Disk) -> None:
    assert disk_of(disk.number) == disk
    assert disk_of(f" {disk.number} ") == disk
    assert parse_number(disk.number, "x") == disk.number


def test_the_name_of_a_number(disk: Disk) -> None:
    name = disks.name_of(disk.number)
    assert name is not None
    assert name.replace("/", "!") == disk.name
    assert disks.name_of("4095:77") is None


def test_by_path(disk: Disk) -> None:
    if not Path(f"/dev/{disk.name}").exists():
        pytest.skip(f"no /dev/{disk.name} here")
    assert disk_of(f"/dev/{disk.name}") == disk
    assert disk_of(Path(f"/dev/{disk.name}")) == disk


def test_by_mount_point() -> None:
    device = os.stat("/").st_dev
    if os.major(device) == 0:
        pytest.skip("/ is on no disk of its own here")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = parse_number("/", "x")
    assert found == disk_of("/").number
    assert (SYS / found).exists()
    assert not (SYS / found / "partition").exists()


@pytest.mark.kernel
def test_a_partition_stands_for_its_disk(partition: tuple[Disk, str]) -> None:
    whole, number = partition
    assert disk_of(number) == Disk(whole.number, whole.name, partition=f"{whole.name}p1")
    with pytest.warns(PartitionWarning, match=rf"{number} is a partition.*all of {whole.name}"):
        assert parse_number(number, "device_read_bps") == whole.number


@pytest.mark.kernel
def test_a_mount_of_a_partition_stands_for_its_disk(
    partition: tuple[Disk, str], tmp_path: Path, in_child: Any, unshare: Any
) -> None:
    whole, _ = partition
    device = f"/dev/{whole.name}p1"
    subprocess.run(["mke2fs", "-q", device], check=True)

    def mounted() -> str:
        unshare()
        subprocess.run(["mount", "-t", "ext4", device, tmp_path], check=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return parse_number(str(tmp_path), "x")

    assert in_child(mounted) == whole.number


@pytest.mark.parametrize(
    "value",
    ["", "sda", "8", "8:", ":0", "8:0:1", "8:-1", "8:0 1", "/nowhere/at/all", "/dev/null",
     "/etc/passwd", "/proc", "\0", 8, None, 8.0, True, b"/dev/sda", ["8:0"]],
)  # fmt: skip
def test_what_is_no_disk_says_what_is(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="device_read_bps=") as caught:
        disk_of(value, "device_read_bps")
    assert isinstance(caught.value, ValueError)


def test_a_disk_that_does_not_exist_lists_those_that_do(disk: Disk) -> None:
    with pytest.raises(InvalidValueError, match=rf"{disk.number} \({disk.name}\)"):
        disk_of("4095:77")
    with pytest.raises(InvalidValueError, match=rf"No such file.*{disk.number} \({disk.name}\)"):
        disk_of("/dev/sdzzz")


def test_a_number_may_be_that_of_another_machine() -> None:
    assert parse_number("4095:77", "x") == "4095:77"


@given(st.text(max_size=20) | st.from_regex(r"\A\d{1,9}:\d{1,9}\Z"))
def test_any_text_gives_a_disk_or_our_error(text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parse_number(text, "x")
    except InvalidValueError:
        pass


def test_scheduler(disk: Disk) -> None:
    assert disks.scheduler("4095:77") == ""
    file = SYS / disk.number / "queue/scheduler"
    name = disks.scheduler(disk.number)
    assert f"[{name}]" in file.read_text() if name else "[" not in file.read_text()
