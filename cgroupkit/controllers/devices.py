"""devices: which device nodes may be opened and made. Files on v1, a BPF program on v2."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import attrs

from cgroupkit.controllers.base import Controller, Setting, Source, Step, parsed
from cgroupkit.controllers.kinds import Kind
from cgroupkit.devices import allowlist, bpf
from cgroupkit.devices.program import assemble, disassemble
from cgroupkit.devices.rules import DeviceRule, Rules, parse_rules, visible
from cgroupkit.errors import CgroupKitError, FormatError, UnsupportedError, file_error

RulesLike = str | DeviceRule | Iterable[str | DeviceRule] | None


@attrs.frozen
class RulesStep(Step):
    """The whole list at once, which v1 takes write by write."""

    rules: Rules | None = None

    def take(self) -> None:
        (_take_v1 if self.controller.version == 1 else _take_v2)(self.controller, self.rules)

    def before(self) -> list[Step]:
        now = Devices.rules.source(self.controller).read(self.controller)
        return [_step(self.controller, now)]


def _step(controller: Controller, rules: Rules | None) -> RulesStep:
    shown = "all" if rules is None else ", ".join(map(str, rules))
    return RulesStep(controller, "devices.list", shown, rules=rules)


def _take_v2(controller: Controller, rules: Rules | None) -> None:
    bpf.put(controller.directory, None if rules is None else assemble(rules))


def _take_v1(controller: Controller, rules: Rules | None) -> None:
    wanted = allowlist.EVERYTHING if rules is None else allowlist.listed(rules)
    before = _list(controller)
    try:
        _write(controller, wanted)
    except CgroupKitError:
        with suppress(CgroupKitError):
            _write(controller, before)
        raise


def _write(controller: Controller, wanted: allowlist.Listed) -> None:
    for file, text in allowlist.changes(_list(controller), wanted):
        controller.write(file, text)


def _list(controller: Controller) -> allowlist.Listed:
    text = controller.read("devices.list")
    return parsed(allowlist.parse, text, controller, "devices.list")


class _Files(Source[Rules | None, Any]):
    files = ("devices.list", "devices.allow", "devices.deny")

    def read(self, controller: Controller) -> Rules | None:
        return parsed(allowlist.as_rules, _list(controller), controller, "devices.list")

    def steps(self, controller: Controller, value: Any, option: str) -> list[Step]:
        rules = _rules(value, option)
        if rules is not None:  # what v1 cannot express is refused before anything is written
            rules = allowlist.as_rules(allowlist.listed(rules))
        return [_step(controller, rules)]


class _Program(Source[Rules | None, Any]):
    files = ()

    def read(self, controller: Controller) -> Rules | None:
        ours = [program for program in bpf.attached(controller.directory) if program.ours]
        if not ours:
            return None
        if not ours[0].code:
            words = "only those with CAP_SYS_ADMIN may see the instructions of a program"
            raise file_error(errno.EPERM, f"{controller.directory}: {words}", controller.directory)
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
