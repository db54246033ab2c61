"""Rules as a BPF_PROG_TYPE_CGROUP_DEVICE program, and such a program as rules.

The kernel runs it for each open and mknod (kernel/bpf/cgroup.c, __cgroup_bpf_check_dev_permission)
with three u32: type (low half) and access (high half), major, minor; 1 allows, 0 is EPERM.
Instructions are those of Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from cgroupkit.devices.rules import ACCESS, DeviceRule, DeviceType, Rules

_LOAD: Final = 0x61  # dst = *(u32 *)(src + off)
_SET: Final = 0xB7  # dst = imm
_AND: Final = 0x57  # dst &= imm
_SHIFT: Final = 0x77  # dst >>= imm
_IF_NOT_EQUAL: Final = 0x55  # if dst != imm: skip off
_IF_ANY_BIT: Final = 0x45  # if dst & imm: skip off
_SKIP: Final = 0x05  # skip off
_EXIT: Final = 0x95

_RESULT, _CONTEXT, _SCRATCH, _WANTED = range(4)
_TYPES: Final[dict[DeviceType, int]] = {"b": 1, "c": 2}
_BITS: Final = {"m": 1, "r": 2, "w": 4}
_LITTLE: Final = sys.byteorder == "little"
"""The two registers of an instruction are bit fields: s390x has them the other way round."""


@attrs.frozen
class Instruction:
    """One BPF instruction of eight bytes."""

    code: int
    target: int = 0
    source: int = 0
    offset: int = 0
    value: int = 0

    def __bytes__(self) -> bytes:
        low, high = (self.target, self.source) if _LITTLE else (self.source, self.target)
        registers = low | high << 4
        return struct.pack("=BBhi", self.code, registers, self.offset, self.value)


def instructions(program: bytes) -> Iterator[Instruction]:
    """The instructions of *program*; a rest that is not a whole one is left out."""
    for code, registers, offset, value in struct.iter_unpack("=BBhi", program[: len(program) & ~7]):
        low, high = registers & 15, registers >> 4
        target, source = (low, high) if _LITTLE else (high, low)
        yield Instruction(code, target, source, offset, value)


def _verdict(allow: bool) -> tuple[Instruction, ...]:
    return Instruction(_SET, _RESULT, value=int(allow)), Instruction(_EXIT)


_PROLOGUE: Final = (
    Instruction(_LOAD, _WANTED, _CONTEXT),
    Instruction(_SHIFT, _WANTED, value=16),
)
# Each rule loads what it compares. If it were kept in registers, the verifier would follow every rule
# with each value that one before it has compared, and give up after some three hundred rules.
_LOAD_TYPE: Final = (
    Instruction(_LOAD, _SCRATCH, _CONTEXT),
    Instruction(_AND, _SCRATCH, value=0xFFFF),
)
_LOAD_MAJOR: Final = (Instruction(_LOAD, _SCRATCH, _CONTEXT, offset=4),)
_LOAD_MINOR: Final = (Instruction(_LOAD, _SCRATCH, _CONTEXT, offset=8),)


def _decision(rule: DeviceRule) -> tuple[Instruction, ...]:
    """For a node that the rule is about: _WANTED keeps what is still to be decided."""
    bits = sum(_BITS[letter] for letter in rule.access)
    if rule.allow:
        return (
            Instruction(_AND, _WANTED, value=~bits),
            Instruction(_IF_NOT_EQUAL, _WANTED, offset=2, value=0),
            *_verdict(True),
        )
    return (
        Instruction(_IF_ANY_BIT, _WANTED, offset=1, value=bits),
        Instruction(_SKIP, offset=2),
        *_verdict(False),
    )


def _block(rule: DeviceRule) -> list[Instruction]:
    tests: list[tuple[tuple[Instruction, ...], int]] = []
    if rule.type != "a":
        tests.append((_LOAD_TYPE, _TYPES[rule.type]))
    if rule.major is not None:
        tests.append((_LOAD_MAJOR, rule.major))
    if rule.minor is not None:
        tests.append((_LOAD_MINOR, rule.minor))
    code = list(_decision(rule))
    for load, value in reversed(tests):
        code = [*load, Instruction(_IF_NOT_EQUAL, _SCRATCH, offset=len(code), value=value), *code]
    return code


def assemble(rules: Iterable[DeviceRule]) -> bytes:
    """The program that decides as :func:`cgroupkit.devices.rules.allowed` does.

    From the last rule to the first: one that allows takes its kinds of access from what is wanted,
    and when nothing is left to decide, allows; one that denies any of what is left, denies.
    """
    code = list(_PROLOGUE)
    for rule in reversed(tuple(rules)):
        code += _block(rule)
    code += _verdict(False)
    return b"".join(map(bytes, code))


def disassemble(program: bytes) -> Rules | None:
    """The rules of a program that :func:`assemble` made; None for any other."""
    code = list(instructions(program))
    if len(program) % 8 or tuple(code[: len(_PROLOGUE)]) != _PROLOGUE:
        return None
    place, rules = len(_PROLOGUE), list[DeviceRule]()
    while place < len(code) - 2:
        rule = _rule_at(code, place)
        if rule is None:
            return None
        rules.append(rule)
        place += len(_block(rule))
    rules.reverse()
    return tuple(rules) if assemble(rules) == program else None


def _rule_at(code: list[Instruction], place: int) -> DeviceRule | None:
    """The rule that begins there, if one does; the caller checks it by assembling it again."""
    numbers: dict[tuple[Instruction, ...], int] = {}
    for load in (_LOAD_TYPE, _LOAD_MAJOR, _LOAD_MINOR):
        after = place + len(load)
        if tuple(code[place:after]) == load and after + 1 < len(code):
            numbers[load] = code[after].value
            place = after + 1
    decision = code[place]
    bits = ~decision.value if decision.code == _AND else decision.value
    kinds = {number: kind for kind, number in _TYPES.items()}
    kind = kinds.get(numbers[_LOAD_TYPE]) if _LOAD_TYPE in numbers else "a"
    access = "".join(letter for letter in ACCESS if bits & _BITS[letter])
    if kind is None or not access:
        return None
    try:
        allow = decision.code == _AND
        return DeviceRule(kind, numbers.get(_LOAD_MAJOR), numbers.get(_LOAD_MINOR), access, allow)
    except ValueError:
        return None
