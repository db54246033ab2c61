"""devices: which device nodes may be opened and made. Files on v1, a BPF program on v2."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from typing import Any

import attrs

from cgroupkit.controllers.base import Controller, Setting, Source, Step, parsed
from cgroupkit.controllers.kinds import Kind
from cgroupkit.devices import allowlist, bpf
from cgroupkit.devices.program import assemble, disassemble
from cgroupkit.devices.rules import DeviceRule, Rules, parse_rules, visible
from cgroupkit.errors import (
    CgroupKitError,
    FileError,
    FormatError,
    RejectedError,
    UnsupportedError,
    file_error,
)
from cgroupkit.waiting import turns

RulesLike = str | DeviceRule | Iterable[str | DeviceRule] | None


_PATIENCE = 5
"""Seconds for the kernel to be done with child cgroups that were removed; usually milliseconds."""


@attrs.frozen
class RulesStep(Step):
    """The whole list at once, which v1 takes write by write."""

    rules: Rules | None = None
    listed: allowlist.Listed | None = None
    """v1: what *rules* come to there. What others listed has no rules of exactly that effect."""

    def take(self) -> None:
        if self.listed is None:
            code = None if self.rules is None else assemble(self.rules)
            bpf.put(self.controller.directory, code)
        else:
            _take_v1(self.controller, self.listed)

    def before(self) -> list[Step]:
        if self.listed is None:
            return [_step(self.controller, Devices.rules.source(self.controller).read(self.controller))]
        return [_step_v1(self.controller, _list(self.controller))]


def _step(
    controller: Controller, rules: Rules | None, listed: allowlist.Listed | None = None
) -> RulesStep:
    shown = "all" if rules is None else ", ".join(map(str, rules))
    return RulesStep(controller, "devices.list", shown, rules=rules, listed=listed)


def _step_v1(controller: Controller, listed: allowlist.Listed) -> RulesStep:
    return _step(controller, parsed(allowlist.as_rules, listed, controller, "devices.list"), listed)


def _take_v1(controller: Controller, wanted: allowlist.Listed) -> None:
    before = _list(controller)
    try:
        _write_all(controller, allowlist.changes(before, wanted))
    except BaseException as error:
        try:
            _write_all(controller, allowlist.changes(_list(controller), before))
            undone = "the list is again what it showed before"
        except CgroupKitError as second:
            undone = f"and what the list showed before could not be put back: {second}"
        if not isinstance(error, FileError):
            raise
        code, path = error.errno or 0, error.filename
        raise file_error(code, f"{error}; {undone}", path, error.value) from None


def _write_all(controller: Controller, writes: Iterable[allowlist.Write]) -> None:
    for file, text in writes:
        for last in turns(time.monotonic() + _PATIENCE):
            try:
                controller.write(file, text)
                break
            except RejectedError:
                # A removed child is in the way until the kernel has let go of it, which it does later.
                if text != "a" or last or _has_children(controller):
                    raise


def _has_children(controller: Controller) -> bool:
    with os.scandir(controller.directory) as entries:
        return any(entry.is_dir(follow_symlinks=False) for entry in entries)


def _list(controller: Controller) -> allowlist.Listed:
    text = controller.read("devices.list")
    return parsed(allowlist.parse, text, controller, "devices.list")


class _Files(Source[Rules | None, Any]):
    files = ("devices.list", "devices.allow", "devices.deny")

    def read(self, controller: Controller) -> Rules | None:
        return parsed(allowlist.as_rules, _list(controller), controller, "devices.list")

    def steps(self, controller: Controller, value: Any, option: str) -> list[Step]:
        rules = _rules(value, option)
        # What v1 cannot express is refused here, before anything is written.
        wanted = allowlist.EVERYTHING if rules is None else allowlist.listed(rules)
        return [_step_v1(controller, wanted)]


class _Program(Source[Rules | None, Any]):
    files = ()

    def read(self, controller: Controller) -> Rules | None:
        ours = [program for program in bpf.attached(controller.directory) if program.ours]
        if not ours:
            return None
        if not ours[0].code:
            raise file_error(
                errno.EPERM,
                f"the kernel does not show the device program {ours[0].id} of {controller.directory}: "
                "it takes CAP_BPF and, with net.core.bpf_jit_harden=2, kernel.kptr_restrict=0",
                controller.directory,
            )
        rules = disassemble(ours[0].code)
        if rules is None or len(ours) > 1:
            what = "is not one of this version's" if rules is None else "is not the only one"
            raise FormatError(
                f"the device program {ours[0].id} of {controller.directory} {what}; set the rules anew"
            )
        return rules

    def steps(self, controller: Controller, value: Any, option: str) -> list[Step]:
        rules = _rules(value, option)
        return [_step(controller, None if rules is None else visible(rules))]


def _rules(value: Any, option: str) -> Rules | None:
    return None if value is None else parse_rules(value, option)


def _never(value: object, option: str) -> str:
    raise TypeError(f"{option} is not printed")


_KIND: Kind[Rules | None, RulesLike] = Kind("rules", lambda text: None, _never)


class Devices(Controller, name="devices"):
    """cgroup-v2.rst, "Device controller"; cgroup-v1/devices.rst."""

    __slots__ = ()

    rules = Setting(
        _KIND,
        v2=_Program(),
        v1=_Files(),
        since="v2: 4.15 (CONFIG_CGROUP_BPF)",
        doc="Device nodes that may be opened and made, all others not; None is no restriction.",
    )

    def programs(self) -> list[bpf.Program]:
        """v2: the device programs attached here, of ours and of others; all of them have to allow."""
        if self.version == 1:
            raise UnsupportedError("cgroup v1 has no device programs; rules has what it allows")
        return bpf.attached(self.directory)
