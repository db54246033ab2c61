"""OCI's linux.resources: from it, to it, and back to where it came from."""

from __future__ import annotations

import copy
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import Resources
from cgroupkit.errors import InvalidValueError
from cgroupkit.oci import FIELDS, Field, resources_from_oci, resources_to_oci
from cgroupkit.options import UNLIMITED

MIB = 1 << 20
INT64 = 2**63 - 1
# No such majors are registered, so that no machine has a partition there.
DISK = {"major": 4001, "minor": 16}

ALL: dict[str, Any] = {
    "memory": {
        "limit": 512 * MIB,
        "reservation": 256 * MIB,
        "swap": -1,
        "kernel": -1,
        "kernelTCP": 16 * MIB,
        "swappiness": 0,
        "disableOOMKiller": False,
        "checkBeforeUpdate": True,
    },
    "cpu": {
        "shares": 1024,
        "quota": 1_000_000,
        "burst": 0,
        "period": 500_000,
        "realtimeRuntime": 950_000,
        "realtimePeriod": 1_000_000,
        "cpus": "2-3",
        "mems": "0-7",
        "idle": 0,
    },
    "blockIO": {
        "weight": 10,
        "weightDevice": [{**DISK, "weight": 500}, {"major": 4002, "minor": 0, "weight": 1000}],
        "throttleReadBpsDevice": [{**DISK, "rate": 600}],
        "throttleWriteBpsDevice": [{**DISK, "rate": 0}],
        "throttleReadIOPSDevice": [{**DISK, "rate": 2**32 - 1}],
        "throttleWriteIOPSDevice": [{**DISK, "rate": 300}],
    },
    "pids": {"limit": 32771},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "64KB", "limit": 2**64 - 1}],
    "network": {
        "classID": 1048577,
        "priorities": [{"name": "eth0", "priority": 500}, {"name": "eth1", "priority": 0}],
    },
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
    ],
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 2**31 - 1}, "rxe3": {"hcaObjects": 10000}},
    "unified": {"memory.high": "100M", "io.max": "259:0 rbps=2097152\n253:0 wiops=120"},
}


def options_of(fields: Any) -> list[str]:
    """Every option that the table knows."""
    found = []
    for field in fields.values():
        found += [field.option] if isinstance(field, Field) else options_of(field)
    return [option for option in found if option]


def test_every_option_has_one_field() -> None:
    names = options_of(FIELDS)
    assert len(names) == len(set(names))
    assert {*names, "cpus", "memory_high"} == {field.name for field in attrs.fields(Resources)}


def test_everything_there_and_back() -> None:
    before = copy.deepcopy(ALL)
    wanted = Resources.from_oci(ALL)
    assert before == ALL
    assert wanted.asked().keys() == set(options_of(FIELDS))
    assert wanted.memory_swap is wanted.kernel_memory is UNLIMITED
    assert wanted.cpu_idle is False
    assert wanted.cpuset_cpus == frozenset({2, 3})
    assert wanted.blkio_weight_device == {"4001:16": 500, "4002:0": 1000}
    assert wanted.device_write_bps == {"4001:16": UNLIMITED}
    assert wanted.hugepage_limits == {"2MB": 0, "64KB": UNLIMITED}
    assert wanted.rdma == {
        "mlx5_1": {"hca_handle": 3, "hca_object": UNLIMITED},
        "rxe3": {"hca_object": 10000},
    }
    again = wanted.to_oci()
    assert again == ALL
    assert json.loads(json.dumps(again)) == ALL


def test_what_is_given_back_is_not_what_was_given() -> None:
    document = copy.deepcopy(ALL)
    wanted = Resources.from_oci(document)
    document["unified"]["memory.high"] = "1"
    document["rdma"]["rxe3"]["hcaObjects"] = 1
    wanted.to_oci()["unified"]["memory.high"] = "2"
    assert wanted.to_oci() == ALL


# Any document


def some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def rows(
    keys: dict[str, st.SearchStrategy[Any]], name: str, value: st.SearchStrategy[Any]
) -> st.SearchStrategy[list[Any]]:
    row = st.fixed_dictionaries({**keys, name: value})
    return st.lists(row, min_size=1, max_size=3, unique_by=lambda row: tuple(row[key] for key in keys))


def filled(section: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return section.filter(bool)


def limits(low: int, high: int) -> st.SearchStrategy[int]:
    return st.just(-1) | st.integers(low, high)


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
disks = {"major": st.integers(1000, 4095), "minor": st.integers(0, 2**20 - 1)}
rates = rows(disks, "rate", st.integers(0, INT64))
counts = rows(disks, "rate", st.integers(0, 2**32 - 1))
rdma_counts = st.integers(0, 2**31 - 1)
documents = some(
    {
        "memory": filled(
            some(
                {
                    "limit": limits(2**40, 2**41),
                    "reservation": limits(1, 2**40),
                    "swap": limits(2**41, INT64),
                    "kernel": limits(65536, INT64),
                    "kernelTCP": limits(65536, INT64),
                    "swappiness": st.integers(0, 200),
                    "disableOOMKiller": st.booleans(),
                    "checkBeforeUpdate": st.booleans(),
                }
            )
        ),
        "cpu": filled(
            some(
                {
                    "shares": st.integers(2, 262144),
                    "quota": limits(2**20, 2**44 - 1),
                    "burst": st.integers(0, 2**20),
                    "period": st.integers(1000, 1_000_000),
                    "realtimeRuntime": limits(1, 2**32),
                    "realtimePeriod": st.integers(2**32, INT64),
                    "cpus": st.sampled_from(["0", "0-3", "1,3-5,65535"]),
                    "mems": st.sampled_from(["0", "0-1"]),
                    "idle": st.sampled_from([0, 1]),
                }
            )
        ),
        "blockIO": filled(
            some(
                {
                    "weight": st.integers(10, 1000),
                    "weightDevice": rows(disks, "weight", st.integers(10, 1000)),
                    "throttleReadBpsDevice": rates,
                    "throttleWriteBpsDevice": rates,
                    "throttleReadIOPSDevice": counts,
                    "throttleWriteIOPSDevice": counts,
                }
            )
        ),
        "pids": st.fixed_dictionaries({"limit": limits(1, 4194304)}),
        "hugepageLimits": rows(
            {"pageSize": st.sampled_from(["64KB", "2MB", "16MB", "1GB", "16GB"])},
            "limit",
            st.integers(0, INT64) | st.just(2**64 - 1),
        ),
        "network": filled(
            some(
                {
                    "classID": st.integers(1, 2**32 - 1),
                    "priorities": rows({"name": names}, "priority", st.integers(0, 2**32 - 1)),
                }
            )
        ),
        "rdma": st.dictionaries(
            names,
            filled(some({"hcaHandles": rdma_counts, "hcaObjects": rdma_counts})),
            min_size=1,
            max_size=3,
        ),
        "unified": st.dictionaries(names.map("memory.{}".format), st.text(), min_size=1, max_size=3),
    }
)


@given(documents)
def test_any_document_comes_back(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    wanted = Resources.from_oci(document)
    assert document == before
    assert wanted.to_oci() == document
    assert Resources.from_oci(wanted.to_oci()) == wanted


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
paths = st.sampled_from(
    [(name, inner) for name, field in ALL.items() if isinstance(field, dict) for inner in field]
)


@given(documents, paths, anything)
def test_nothing_else_is_raised(document: dict[str, Any], path: tuple[str, str], value: Any) -> None:
    section, name = path
    bad = {**document, section: {**document.get(section, {}), name: value}}
    try:
        resources_from_oci(bad)
    except InvalidValueError as error:
        assert str(error).startswith(f"{section}.{name}")
    with pytest.raises(InvalidValueError, match=r"^resources="):
        resources_from_oci([bad])  # type: ignore[arg-type]


# What asks for nothing


@pytest.mark.parametrize(
    "document",
    [
        {},
        # What runc's manual shows, in which nothing is to be changed.
        {
            "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": 0},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0},
            "blockIO": {"weight": 0},
        },
        {"cpu": {"cpus": "", "mems": ""}},
        {"memory": {"useHierarchy": True}, "blockIO": {"leafWeight": 0}},
        {"memory": {}, "blockIO": {"weightDevice": [], "throttleReadBpsDevice": []}},
        {"hugepageLimits": [], "network": {"classID": 0, "priorities": []}, "rdma": {}, "unified": {}},
        {"memory": None, "pids": {"limit": None}, "hugepageLimits": None, "devices": []},
        {"pids": {}},
    ],
)
def test_what_asks_for_nothing(document: dict[str, Any]) -> None:
    assert resources_from_oci(document) == {}


@pytest.mark.parametrize(
    ("document", "normal"),
    [
        ({"cpu": {"cpus": "3,0-2", "shares": 0}}, {"cpu": {"cpus": "0-3"}}),
        (
            {"hugepageLimits": [{"pageSize": "2048KB", "limit": 1}]},
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]},
        ),
        (
            {"blockIO": {"weightDevice": [{**DISK, "weight": 10, "leafWeight": 0}], "weight": None}},
            {"blockIO": {"weightDevice": [{**DISK, "weight": 10}]}},
        ),
    ],
)
def test_normal_forms(document: dict[str, Any], normal: dict[str, Any]) -> None:
    assert Resources.from_oci(document).to_oci() == normal


# What is refused

BPS = "throttleReadBpsDevice"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        # Not the resources.
        ({"ociVersion": "1.2.0", "linux": {}}, r"'linux' in it .* pass config\[\"linux\"\]"),
        ({"namespaces": [], "resources": {}}, r"'resources' in it .* pass linux\[\"resources\"\]"),
        ('{"memory": {}}', r"resources='\{\"memory\": \{\}\}' is not valid: give an object"),
        # Not known.
        ({"memroy": {}}, "memroy is not a field of linux.resources; did you mean memory?"),
        ({"memory": {"limt": 1}}, "memory.limt is not a field .*; did you mean limit?"),
        ({"cpu": {"weight": 1}}, "cpu.weight is not a field .*; known there: shares, quota"),
        ({"blockIO": {BPS: [{**DISK, "rate": 1, "x": 1}]}}, rf"blockIO.{BPS}\[0\].x is not a field"),
        ({"rdma": {"mlx5_0": {"hca_handle": 1}}}, "rdma.mlx5_0.hca_handle .* did you mean hcaHandles?"),
        # Not to be expressed.
        ({"blockIO": {"leafWeight": 10}}, r"^blockIO.leafWeight=10 is not valid: .*CFQ.* leave it out"),
        (
            {"blockIO": {"weightDevice": [{**DISK, "leafWeight": 10}]}},
            r"blockIO.weightDevice\[0\].leafWeight=10 .*CFQ",
        ),
        (
            {"memory": {"useHierarchy": False}},
            "memory.useHierarchy=False is not valid: .* leave it out",
        ),
        ({"memory": {"useHierarchy": 1}}, "memory.useHierarchy=1 "),
        ({"pids": {"limit": 0}}, "pids.limit=0 is not valid: runtimes read 0 in three ways: give -1"),
        # Not of the type.
        ({"memory": []}, r"memory=\[\] is not valid: give an object"),
        ({"memory": {"limit": "200M"}}, "memory.limit='200M' is not valid: give a whole number from"),
        ({"memory": {"limit": 1e9}}, "memory.limit=1000000000.0 is not valid"),
        ({"memory": {"limit": True}}, "memory.limit=True is not valid"),
        ({"memory": {"disableOOMKiller": 1}}, "memory.disableOOMKiller=1 .*give true or false"),
        ({"cpu": {"idle": True}}, "cpu.idle=True .* from 0 to 1"),
        ({"cpu": {"cpus": [0, 1]}}, r"cpu.cpus=\[0, 1\] is not valid: give a string"),
        ({"cpu": {"cpus": "two"}}, "cpu.cpus='two' is not valid: give numbers and ranges"),
        ({"pids": {"limit": False}}, "pids.limit=False is not valid: give a whole number from 1"),
        ({"hugepageLimits": {"2MB": 1}}, "hugepageLimits=.* give a list of objects"),
        ({"hugepageLimits": ["2MB"]}, r"hugepageLimits\[0\]='2MB' is not valid: give an object"),
        ({"unified": {"memory.high": 5}}, "unified.memory.high=5 is not valid: give a string"),
        ({"unified": {"../memory.high": "5"}}, "unified='../memory.high' is not valid: give a name"),
        # Out of range.
        ({"memory": {"limit": 100}}, r"memory.limit=100 .* from \d+ to \d+, or -1 for no limit"),
        ({"memory": {"limit": -2}}, "memory.limit=-2 "),
        ({"memory": {"swap": 2**63}}, "memory.swap=9223372036854775808 "),
        ({"memory": {"swappiness": 201}}, "memory.swappiness=201 .* from 0 to 200$"),
        ({"cpu": {"shares": 1}}, "cpu.shares=1 .* from 2 to 262144$"),
        ({"cpu": {"quota": 999}}, "cpu.quota=999 .*, or -1 for no limit"),
        ({"cpu": {"period": 999}}, "cpu.period=999 "),
        ({"cpu": {"idle": 2}}, "cpu.idle=2 "),
        ({"blockIO": {"weight": 9}}, "blockIO.weight=9 .* from 10 to 1000$"),
        (
            {"blockIO": {"weightDevice": [{**DISK, "weight": 0}]}},
            r"blockIO.weightDevice\[0\].weight=0 .* from 10",
        ),
        (
            {"blockIO": {BPS: [{**DISK, "rate": 1}, {"major": -1, "minor": 0, "rate": 1}]}},
            rf"blockIO.{BPS}\[1\].major=-1 .* from 0 to 4095",
        ),
        ({"pids": {"limit": -2}}, "pids.limit=-2 .*, or -1 for no limit"),
        ({"network": {"classID": 2**32}}, "network.classID=4294967296 "),
        ({"rdma": {"a": {"hcaObjects": 2**31}}}, "rdma.a.hcaObjects=2147483648 .*2147483647 for no"),
        ({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}, r"hugepageLimits\[0\].pageSize='3MB'"),
        # Something missing, or too much of it.
        ({"blockIO": {BPS: [DISK]}}, rf"blockIO.{BPS}\[0\].rate is missing"),
        ({"blockIO": {"weightDevice": [DISK]}}, r"blockIO.weightDevice\[0\].weight is missing"),
        ({"hugepageLimits": [{"limit": 1}]}, r"hugepageLimits\[0\].pageSize is missing"),
        ({"rdma": {"mlx5_0": {}}}, r"rdma.mlx5_0=\{\} .* give hcaHandles, hcaObjects or both"),
        (
            {"blockIO": {BPS: [{**DISK, "rate": 1}, {**DISK, "rate": 2}]}},
            rf"blockIO.{BPS}\[1\] is about 4001:16, as one before it",
        ),
    ],
)
def test_what_is_refused(document: Any, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        Resources.from_oci(document)


# From options


@pytest.mark.parametrize(
    ("options", "document"),
    [
        ({}, {}),
        ({"cpus": "1.5"}, {"cpu": {"quota": 150_000, "period": 100_000}}),
        ({"memory": "max"}, {"memory": {"limit": -1}}),
        ({"memory_high": "1M"}, {"unified": {"memory.high": "1048576"}}),
        ({"memory_high": -1}, {"unified": {"memory.high": "max"}}),
        (
            {"memory_high": "1M", "unified": {"memory.high": "1048576", "cpu.weight": "5"}},
            {"unified": {"memory.high": "1048576", "cpu.weight": "5"}},
        ),
        ({"pids_limit": 0}, {"pids": {"limit": -1}}),
        ({"cpu_idle": True, "cpu_burst": 0}, {"cpu": {"idle": 1, "burst": 0}}),
        ({"network_class_id": "10:1"}, {"network": {"classID": 0x100001}}),
    ],
)
def test_options_as_a_document(options: Any, document: dict[str, Any]) -> None:
    assert Resources(**options).to_oci() == document


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory_reservation": 0}, "memory_reservation=0 has no form in OCI, where 0 leaves"),
        ({"cpu_rt_runtime": 0}, "cpu_rt_runtime=0 has no form"),
        ({"network_class_id": 0}, "network_class_id=0 has no form"),
        (
            {"memory_high": "1M", "unified": {"memory.high": "1M"}},
            "memory_high=1048576 and unified.* exclude each other",
        ),
    ],
)
def test_options_without_a_form_in_oci(options: Any, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        resources_to_oci(Resources(**options))


# Devices


def test_devices_there_and_back() -> None:
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "type": "b", "major": 8, "access": "r"},
        {"allow": True, "type": "c", "access": "m"},
    ]
    wanted = Resources.from_oci({"devices": rules})
    assert isinstance(wanted.devices, tuple)
    assert [(rule.type, rule.major, rule.minor, rule.access) for rule in wanted.devices] == [
        ("a", None, None, "rwm"),
        ("c", 1, 3, "rw"),
        ("b", 8, None, "r"),
        ("c", None, None, "m"),
    ]
    assert wanted.to_oci() == {"devices": rules}
    said_otherwise = {"allow": False, "type": "a", "major": -1, "minor": -1, "access": "mwr"}
    assert Resources.from_oci({"devices": [said_otherwise]}).to_oci() == {"devices": rules[:1]}
    assert Resources(devices=["b 8:0 r", "a 4:* m"]).to_oci()["devices"] == [
        {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"},
        {"allow": True, "type": "b", "major": 4, "access": "m"},
        {"allow": True, "type": "c", "major": 4, "access": "m"},
    ]
    assert Resources(devices="all").to_oci() == {"devices": [{"allow": True, "access": "rwm"}]}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"access": "r", "type": "c"}, r"devices\[0\].allow is missing"),
        ({"allow": True, "type": "c"}, r"devices\[0\].access is missing"),
        ({"allow": 1, "access": "r"}, r"devices\[0\].allow=1 .* true or false"),
        ({"allow": True, "type": "u", "access": "r"}, r"devices\[0\].type='u' .* give \"b\""),
        ({"allow": True, "type": "c", "access": "x"}, r"devices\[0\].access='x' .* give some of r"),
        ({"allow": True, "type": "c", "access": ""}, r"devices\[0\].access='' "),
        ({"allow": True, "type": "c", "major": 4096, "access": "r"}, r"devices\[0\].major=4096"),
        ({"allow": True, "access": "r"}, r"devices\[0\] has no type, or type a"),
        ({"allow": True, "major": 1, "access": "rwm"}, r"devices\[0\] has no type, or type a"),
    ],
)
def test_devices_refused(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        resources_from_oci({"devices": [rule]})
