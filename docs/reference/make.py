"""Write controllers.md from the descriptions in cgroupkit.controllers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgroupkit.controllers import CONTROLLERS, Controller, Reading, described
from cgroupkit.controllers.elsewhere import NO_ATTRIBUTE, SET_ELSEWHERE

PAGE = Path(__file__).parent / "controllers.md"

INTRODUCTION = """\
# Controllers, file by file

Every interface file of the kernel's cgroups, Linux 5.4 to 6.18, v1 and v2. Made by
docs/reference/make.py from the descriptions in cgroupkit/controllers, which are what attributes,
snapshots and tests are made from too; change it there.

`cg` is a `Cgroup`. *rw* can be set. Where a version has no file, asking raises `UnsupportedError`,
with what does the job there. None is no limit. *by key* is a dict: by disk ("8:0"), interface, device
or resource. Records (MemoryStat) have a field a key of the kernel's, and `extra` for keys that are
unknown here. Where there is no *since*, Linux 5.4 has it.
Disks are named "MAJOR:MINOR", "/dev/sda" or by a mount point when setting; a partition stands for its
disk. `<size>` is a size of huge page, `cg.hugetlb["2MB"]`.
"""


def page() -> str:
    parts = [INTRODUCTION, *(_section(cls) for cls in CONTROLLERS.values()), _elsewhere()]
    return "\n".join(parts)


def _section(cls: type[Controller]) -> str:
    lines = list(described(cls))
    intro = "\n\n".join((cls.__doc__ or "").split("\n\n"))
    text = "\n".join(line.strip() for line in intro.splitlines()).rstrip()
    rows = [_row(line) for line in lines]
    title = f"## {cls.name}\n\n{text.replace('``', '`').replace(':class:', '')}\n"
    if not rows:
        return title
    head = [
        ("attribute", "v2", "v1", "", "type, unit", "since", "meaning"),
        ("---",) * 7,
    ]
    return title + "\n" + _table([*head, *rows])


def _row(line: Reading[Any]) -> tuple[str, ...]:
    v2, v1 = (_files(line, version) for version in (2, 1))
    attribute = f"`cg.{line.option}`"
    meaning = (line.__doc__ or "").rstrip(".")
    return (attribute, v2, v1, line.access, line.kind.unit, line.since, meaning)


def _files(line: Reading[Any], version: int) -> str:
    source = line.sources[version]
    return "" if source is None else ", ".join(source.files) or "BPF"


def _elsewhere() -> str:
    rows = [
        ("file", "instead"),
        ("---", "---"),
        *(("(no file)" if file == "-" else file, why) for file, why in NO_ATTRIBUTE.items()),
    ]
    more = [
        ("file", "set by"),
        ("---", "---"),
        *SET_ELSEWHERE.items(),
    ]
    return (
        "## What is no attribute\n\n" + _table(rows)
        + "\n## What an attribute reads, and something else sets\n\n" + _table(more)
    )  # fmt: skip


def _table(rows: list[tuple[str, ...]]) -> str:
    return "".join(_line(row) for row in rows)


def _line(row: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
