"""hugetlb: a set of files a size of huge page."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Cgroup, Resources
from cgroupkit.controllers import Hugetlb, HugetlbEvents
from cgroupkit.controllers.hugetlb import machine_sizes, page_size
from cgroupkit.errors import InvalidValueError, RejectedError, UnsupportedError

MIB = 1 << 20
MAP_HUGETLB = 0x40000


@pytest.mark.parametrize(
    ("value", "name"),
    [("2MB", "2MB"), ("2M", "2MB"), ("2MiB", "2MB"), (2 * MIB, "2MB"), ("2048kB", "2MB"),
     ("64K", "64KB"), ("1g", "1GB"), ("16GB", "16GB"), (" 2mb ", "2MB"), ("2097152", "2MB")],
)  # fmt: skip
def test_spellings_of_a_size(value: int | str, name: str) -> None:
    assert page_size(value) == name


@pytest.mark.parametrize("value", ["", "3MB", "max", 0, -1, None, "2XB", 1.5, 512, b"2MB", True, "/"])
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="hugepage_limits"):
        Resources(hugepage_limits={value: 5})


def test_texts_of_both_versions(tmp_path: Path) -> None:
    (tmp_path / "hugetlb.2MB.numa_stat").write_text(
        "total=4 N0=1 N1=3\nhierarchical_total=8 N0=8 N1=0\n"
    )
    (tmp_path / "hugetlb.2MB.limit_in_bytes").write_text("9223372036852678656\n")
    (tmp_path / "hugetlb.2MB.events").write_text("max 7\nnew 1\n")
    old: Any = Hugetlb(1, str(tmp_path), lambda _: old)
    assert old.sizes == ("2MB",)
    assert old["2MB"].numa_stat == {
        "total": {0: 1, 1: 3},
        "hierarchical_total": {0: 8, 1: 0},
    }
    assert old[2 * MIB].max is None
    new = Hugetlb(2, str(tmp_path), lambda _: new, "2MB")
    assert new.events == HugetlbEvents(max=7, extra={"new": 1})
    assert "2MB" in repr(new)


@pytest.fixture
def hugetlb(everywhere: Cgroup, needs: Any) -> Hugetlb:
    needs("hugetlb")
    if not everywhere.hugetlb.sizes:
        pytest.skip("this machine has no huge pages")
    return everywhere.hugetlb


@pytest.mark.kernel
def test_sizes_of_this_machine(hugetlb: Hugetlb) -> None:
    assert hugetlb.sizes == machine_sizes()
    for size in hugetlb.sizes:
        assert hugetlb[size].current == 0
        assert hugetlb[size].max is None


@pytest.mark.kernel
def test_a_size_that_the_machine_lacks(everywhere: Cgroup, hugetlb: Hugetlb) -> None:
    lacking = next(size for size in ("64KB", "4MB", "2MB") if size not in hugetlb.sizes)
    with pytest.raises(InvalidValueError, match=f"{lacking}.*this machine has.*{hugetlb.sizes[0]}"):
        _ = hugetlb[lacking]
    with pytest.raises(InvalidValueError, match=lacking):
        everywhere.update(hugepage_limits={hugetlb.sizes[0]: 0, lacking: 0})
    assert hugetlb[hugetlb.sizes[0]].max is None


@pytest.mark.kernel
def test_a_size_has_to_be_named(hugetlb: Hugetlb) -> None:
    with pytest.raises(InvalidValueError, match=rf'hugetlb\["{hugetlb.sizes[0]}"\]'):
        _ = hugetlb.max


@pytest.mark.kernel
def test_an_update_limits_use_and_reservations(everywhere: Cgroup, hugetlb: Hugetlb) -> None:
    pages = hugetlb["2MB"]
    everywhere.update(hugepage_limits={"2M": "9M"})
    assert pages.max == 8 * MIB
    assert pages.rsvd_max == 8 * MIB
    everywhere.update(hugepage_limits={"2MB": -1})
    assert pages.max is None
    assert pages.rsvd_max is None


@pytest.mark.kernel
def test_the_limit_holds(everywhere: Cgroup, hugetlb: Hugetlb, needs_root: None, in_child: Any) -> None:
    """One page fits, two do not: that reservation is refused at mmap, not with SIGBUS later."""
    pool = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    before = int(pool.read_text())
    pool.write_text(str(before + 4))
    try:
        if int(pool.read_text()) < before + 2:
            pytest.skip("no memory for huge pages here")
        hugetlb["2MB"].rsvd_max = 2 * MIB

        def reserve() -> list[bool]:
            everywhere.attach(os.getpid())
            fits = []
            for size in (4 * MIB, 2 * MIB):
                try:
                    kept = mmap.mmap(
                        -1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_HUGETLB
                    )
                    kept[0] = 1
                    fits.append(True)
                except OSError:
                    fits.append(False)
            fits.append(hugetlb["2MB"].rsvd_current == 2 * MIB)
            fits.append(hugetlb["2MB"].current == 2 * MIB)
            return fits

        assert in_child(reserve) == [False, True, True, True]
    finally:
        pool.write_text(str(before))


@pytest.mark.kernel
def test_below_what_is_in_use_or_no_number(hugetlb: Hugetlb) -> None:
    for wrong in ("2X", -5, 1.5, b"1"):
        with pytest.raises(InvalidValueError, match=r"hugetlb\.max"):
            hugetlb["2MB"].max = wrong  # type: ignore[assignment]
    with pytest.raises((RejectedError, UnsupportedError)):
        Hugetlb(hugetlb.version, hugetlb.directory, hugetlb._find, "2MB").write(
            "hugetlb.<size>.max", "x"
        )
