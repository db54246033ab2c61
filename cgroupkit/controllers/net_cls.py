"""net_cls: v1's tag on the packets of a cgroup, for tc and netfilter to match."""

from __future__ import annotations

import re

from cgroupkit import units
from cgroupkit.controllers.base import Controller, Setting
from cgroupkit.controllers.kinds import Kind
from cgroupkit.errors import InvalidValueError
from cgroupkit.units import invalid

_HANDLE = re.compile(r"([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})", re.ASCII)


def parse_classid(value: int | str, option: str) -> int:
    """0xAAAABBBB from tc's "AAAA:BBBB", which is hexadecimal, or from a number below 2**32."""
    if isinstance(value, str) and (match := _HANDLE.fullmatch(value.strip())):
        return int(match[1], 16) << 16 | int(match[2], 16)
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-f]{1,8}", value.strip().lower(), re.ASCII):
        return int(value, 16)
    try:
        return units.parse_int(value, option, 0, 2**32 - 1)
    except InvalidValueError:
        accepted = 'give tc\'s handle such as "10:1" (hexadecimal), or a number below 2**32'
        raise invalid(option, value, accepted) from None


def _print(value: int | str, option: str) -> str:
    return str(parse_classid(value, option))


_CLASSID: Kind[int, int | str] = Kind("0xAAAABBBB", int, _print)


class NetCls(Controller, name="net_cls"):
    """cgroup-v1/net_cls.rst. v2 has none: match with nftables' ``socket cgroupv2``."""

    __slots__ = ()

    classid = Setting(
        _CLASSID,
        v1="net_cls.classid",
        instead="match the cgroup with nftables' `socket cgroupv2` (5.13) there",
        doc='Class of the packets: tc\'s "AAAA:BBBB" (hexadecimal) or a number; 0 is none.',
    )
