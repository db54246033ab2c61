"""Rules for device nodes, and the three forms they take: text, a BPF program, v1's list."""

from __future__ import annotations

import struct
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgroupkit.devices import allowlist
from cgroupkit.devices.allowlist import Listed, as_rules, changes, listed, parse
from cgroupkit.devices.program import assemble, disassemble
from cgroupkit.devices.rules import DOCKER, DeviceRule, Rules, allowed, parse_rules, visible
from cgroupkit.errors import InvalidValueError, UnsupportedError

ACCESSES = [a for n in range(8) if (a := "".join(c for i, c in enumerate("rwm") if n >> i & 1))]
numbers = st.none() | st.integers(0, 3)
rules = st.builds(
    DeviceRule,
    st.sampled_from("abc"),
    numbers,
    numbers,
    st.sampled_from(ACCESSES),
    st.booleans(),
)
lists = st.lists(rules, max_size=8).map(tuple)
requests = st.tuples(
    st.sampled_from("bc"), st.integers(0, 4), st.integers(0, 4), st.sampled_from(["", *ACCESSES])
)

# Text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("c 1:3 rwm", DeviceRule("c", 1, 3)),
        ("c 1:3 mwr", DeviceRule("c", 1, 3)),
        ("c 1:3", DeviceRule("c", 1, 3)),
        ("b *:* rw", DeviceRule("b", access="rw")),
        ("b 8:* r", DeviceRule("b", 8, None, "r")),
        ("a", DeviceRule("a")),
        ("a *:* rwm", DeviceRule("a")),
        ("allow c 5:1 w", DeviceRule("c", 5, 1, "w")),
        (" deny  c 10:200 w ", DeviceRule("c", 10, 200, "w", allow=False)),
    ],
)
def test_rules_as_text(text: str, rule: DeviceRule) -> None:
    assert parse_rules(text) == (rule,)
    assert parse_rules([text, rule]) == (rule, rule)


@given(rules)
def test_a_rule_is_printed_as_it_is_read(rule: DeviceRule) -> None:
    assert parse_rules(str(rule)) == (rule,)


@pytest.mark.parametrize(
    "value",
    ["", "c", "c 1", "c 1:3 x", "c 1:3 rr", "c 1:3 rwmx", "d 1:3 r", "c -1:3 r", "c 1:1048576 r", 5,
     "c 4096:0 r", "c 1:3 r w", "refuse c 1:3 r", "c x:y r", None, b"a", [5], ["c 1:3 r", ""],
     "podman"],
)  # fmt: skip
def test_what_is_no_rule(value: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"devices=.* is not valid"):
        parse_rules(value)


@pytest.mark.parametrize(
    "arguments",
    [("d",), ("c", -1), ("c", 4096), ("c", 1, 2**20), ("c", True), ("c", 1, 1.0), ("c", 1, 1, ""),
     ("c", 1, 1, "rr"), ("c", 1, 1, "x"), ("c", 1, 1, None)],
)  # fmt: skip
def test_what_no_rule_has(arguments: Any) -> None:
    with pytest.raises(InvalidValueError):
        DeviceRule(*arguments)


def test_the_docker_preset() -> None:
    assert parse_rules("docker") == DOCKER
    assert allowed(DOCKER, "c", 1, 3, "rw")
    assert allowed(DOCKER, "b", 8, 0, "m")
    assert allowed(DOCKER, "c", 10, 200, "rw")
    assert not allowed(DOCKER, "b", 8, 0, "r")
    assert parse_rules(["docker", "b 8:0 r"])[-1] == DeviceRule("b", 8, 0, "r")


# What they mean


def test_each_kind_of_access_is_decided_by_itself() -> None:
    reads = parse_rules("c 1:3 r")
    assert allowed(reads, "c", 1, 3, "r")
    assert not allowed(reads, "c", 1, 3, "rw")
    no_writes = parse_rules(["a", "deny c 1:3 w"])
    assert allowed(no_writes, "c", 1, 3, "rm")
    assert not allowed(no_writes, "c", 1, 3, "rw")
    assert allowed(no_writes, "c", 1, 4, "rw")


def test_the_last_rule_decides() -> None:
    assert allowed(parse_rules(["deny a", "c 1:3 r"]), "c", 1, 3, "r")
    assert not allowed(parse_rules(["c 1:3 r", "deny a"]), "c", 1, 3, "r")
    assert not allowed((), "c", 1, 3, "r")


@given(lists, requests)
@settings(max_examples=1000)
def test_what_is_hidden_makes_no_difference(given_rules: Rules, request: Any) -> None:
    assert allowed(visible(given_rules), *request) == allowed(given_rules, *request)
    assert visible(visible(given_rules)) == visible(given_rules)


# As a program


def run(program: bytes, type: str, major: int, minor: int, access: str) -> int:
    """An interpreter of the few instructions of eBPF that are used, from its specification."""
    wanted = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    context = struct.pack("=III", wanted << 16 | {"b": 1, "c": 2}[type], major, minor)
    registers: list[Any] = [None, context] + [None] * 9
    counter = steps = 0
    while True:
        steps += 1
        assert steps <= len(program) // 8, "it does not end"
        code, who, offset, value = struct.unpack_from("=BBhi", program, counter * 8)
        target, source = who & 15, who >> 4
        unsigned = value % 2**64
        counter += 1
        if code == 0x95:
            result = registers[0]
            assert result in (0, 1)
            return int(result)
        if code == 0x61:
            (registers[target],) = struct.unpack_from("=I", registers[source], offset)
        elif code == 0xBF:
            registers[target] = registers[source]
        elif code == 0xB7:
            registers[target] = unsigned
        elif code == 0x57:
            registers[target] &= unsigned
        elif code == 0x77:
            registers[target] >>= value
        elif code == 0x05:
            counter += offset
        else:
            taken = {
                0x15: registers[target] == unsigned,
                0x55: registers[target] != unsigned,
                0x45: bool(registers[target] & unsigned),
            }[code]
            counter += offset * taken


@given(lists, requests)
@settings(max_examples=5000)
def test_the_program_decides_as_the_rules_do(given_rules: Rules, request: Any) -> None:
    short = visible(given_rules)
    assert run(assemble(short), *request) == allowed(given_rules, *request)
    if request[3]:
        assert run(assemble(given_rules), *request) == allowed(given_rules, *request)


@given(lists)
def test_a_program_is_taken_apart_into_its_rules(given_rules: Rules) -> None:
    assert disassemble(assemble(given_rules)) == given_rules


@given(lists, st.data())
def test_a_changed_program_is_none_of_ours_or_says_what_it_is(given_rules: Rules, data: Any) -> None:
    program = bytearray(assemble(given_rules))
    program[data.draw(st.integers(0, len(program) - 1))] ^= data.draw(st.integers(1, 255))
    found = disassemble(bytes(program))
    assert found is None or assemble(found) == bytes(program)


@given(lists)
def test_a_big_endian_machine_has_the_registers_the_other_way_round(given_rules: Rules) -> None:
    little = assemble(given_rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cgroupkit.devices.program._LITTLE", False)
        big = assemble(given_rules)
        assert disassemble(big) == given_rules
    swapped = bytearray(little)
    swapped[1::8] = bytes(byte >> 4 | (byte & 15) << 4 for byte in little[1::8])
    assert big == bytes(swapped)


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_apart_or_not(program: bytes) -> None:
    assert disassemble(program) is None


# As v1's list


def kernel_v1(state: Listed, type: str, major: int, minor: int, access: str) -> bool:
    """security/device_cgroup.c: one exception covers all of it, or any overlaps."""

    def matches(key: str) -> bool:
        kind, _, pair = key.partition(" ")
        return kind == type and all(
            p in ("*", str(n)) for p, n in zip(pair.split(":"), (major, minor), strict=True)
        )

    masks = [set(mask) for key, mask in state.exceptions if matches(key)]
    if state.allow_all:
        return not any(mask & set(access) for mask in masks)
    return any(set(access) <= mask for mask in masks)


@given(lists, requests.filter(lambda request: request[3]))
@settings(max_examples=3000)
def test_v1s_list_decides_as_the_rules_do_or_cannot(given_rules: Rules, request: Any) -> None:
    try:
        state = listed(given_rules)
    except UnsupportedError:
        return
    assert kernel_v1(state, *request) == allowed(given_rules, *request)


@pytest.mark.parametrize(
    "texts",
    [DOCKER, ["a"], [], ["a", "deny c 1:3 w"], ["c 1:* r", "c 1:3 w"],
     ["a", "deny b *:* w", "deny b 8:0 r"], ["c *:3 r", "c 1:* w"]],
)  # fmt: skip
def test_what_v1_can_express(texts: Any) -> None:
    given_rules = parse_rules(texts)
    state = listed(given_rules)
    for major in range(4):
        for access in ACCESSES:
            request: Any = ("c", major, 3, access)
            assert kernel_v1(state, *request) == allowed(given_rules, *request)


def test_what_v1_cannot_express_names_the_rule() -> None:
    with pytest.raises(UnsupportedError, match=r"'deny c 1:3 w'.*one by one"):
        listed(parse_rules(["c 1:* rw", "deny c 1:3 w"]))


@given(lists)
def test_the_rule_that_is_named_denies(given_rules: Rules) -> None:
    try:
        listed(given_rules)
    except UnsupportedError as error:
        named = parse_rules(str(error).split("'")[1])[0]
        assert not named.allow
        assert any(set(named.access) <= set(r.access) for r in given_rules if not r.allow)


def test_the_rule_that_is_named_is_not_one_that_was_taken_back() -> None:
    rules = ["c *:* r", "deny c 1:* r", "deny c *:* r", "c 1:* rw", "deny c 1:3 w", "b 8:1 r"]
    with pytest.raises(UnsupportedError, match="'deny c 1:3 w'"):
        listed(parse_rules(rules))


def test_long_lists() -> None:
    rules = parse_rules([f"c {n % 200}:{n} rw" for n in range(2000)])
    assert len(listed(rules).exceptions) == 2000
    with pytest.raises(UnsupportedError):
        listed((*parse_rules("c 5:* rw"), *rules, *parse_rules("deny c 5:7 r")))


def apply(state: Listed, writes: list[tuple[str, str]]) -> Listed:
    """What the kernel makes of writes to devices.allow and devices.deny."""
    allow_all, kept = state.allow_all, {key: set(mask) for key, mask in state.exceptions}
    for file, text in writes:
        adds = (file == "devices.allow") != allow_all
        if text == "a":
            allow_all, kept = file == "devices.allow", {}
            continue
        key, _, access = text.rpartition(" ")
        kept.setdefault(key, set()).__ior__(set(access)) if adds else kept.get(key, set()).__isub__(
            set(access)
        )
    masks = ((key, "".join(c for c in "rwm" if c in mask)) for key, mask in kept.items() if mask)
    return Listed(allow_all, frozenset(masks))


@given(lists, lists)
@settings(max_examples=500)
def test_the_writes_lead_from_one_list_to_the_other(before: Rules, after: Rules) -> None:
    try:
        old, new = listed(before), listed(after)
    except UnsupportedError:
        return
    assert apply(old, list(changes(old, new))) == new


def whole(state: Listed) -> set[Any]:
    """All requests that *state* allows, of those that *lists* can tell apart."""
    return {
        request for request in product("bc", range(5), range(5), ACCESSES) if kernel_v1(state, *request)
    }


@given(lists, lists)
@settings(max_examples=200)
def test_a_change_of_v1s_list_is_never_open(before: Rules, after: Rules) -> None:
    try:
        old, new = listed(before), listed(after)
    except UnsupportedError:
        return
    if old.allow_all or new.allow_all:
        return
    was, will = whole(old), whole(new)
    writes = list(changes(old, new))
    moments = [whole(apply(old, writes[:n])) for n in range(len(writes) + 1)]
    late = False
    for moment in moments:
        late = late or not moment <= was
        assert moment <= (will if late else was)


@pytest.mark.parametrize(
    ("before", "after"), [(["c 1:* rw"], ["c 1:3 rwm"]), (["c 1:3 rwm", "b 8:1 r"], ["c 1:* rw"])]
)
def test_a_narrower_or_wider_exception_does_not_close_what_stays(before: Any, after: Any) -> None:
    old, new = listed(parse_rules(before)), listed(parse_rules(after))
    writes = list(changes(old, new))
    for n in range(len(writes)):
        assert kernel_v1(apply(old, writes[:n]), "c", 1, 3, "rw")


@given(lists)
def test_a_list_is_read_back(given_rules: Rules) -> None:
    try:
        state = listed(given_rules)
    except UnsupportedError:
        return
    text = "a *:* rwm\n" if state.allow_all else "".join(f"{k} {m}\n" for k, m in state.exceptions)
    found = parse(text)
    assert found == (allowlist.EVERYTHING if state.allow_all else state)
    kept = as_rules(state)
    assert kept is None or listed(kept) == state
