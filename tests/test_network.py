"""Traffic of another network namespace, without entering it."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgroupkit import network
from cgroupkit.network import Interface, interfaces, parse_net_dev

TEXT = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0: 1234567    1000    1    2    0     0          0         0  7654321    2000    3    4    0     0       0          0
veth:a:       5       1    0    0    0     0          0         0        6       1    0    0    0     0       0          0
"""  # noqa: E501


def test_figures_of_each_interface() -> None:
    found = parse_net_dev(TEXT)
    assert list(found) == ["lo", "eth0", "veth:a"]
    assert found["eth0"] == Interface(
        rx_bytes=1234567, rx_packets=1000, rx_errors=1, rx_dropped=2,
        tx_bytes=7654321, tx_packets=2000, tx_errors=3, tx_dropped=4,
    )  # fmt: skip
    assert found["veth:a"].tx_bytes == 6


@given(st.text(max_size=200))
def test_other_text_has_no_interfaces_or_is_a_value_error(text: str) -> None:
    with suppress(ValueError):
        parse_net_dev(text)


def test_our_own_namespace_tells_nothing_of_one_group() -> None:
    assert interfaces([os.getpid()]) is None
    assert interfaces([]) is None
    assert interfaces([2**22 + 1]) is None


@pytest.mark.kernel
def test_a_namespace_of_its_own(needs_root: None, eventually: Any) -> None:
    process = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    try:
        own = network.namespace("self")
        eventually(lambda: network.namespace(str(process.pid)) not in (None, own))
        assert interfaces([2**22 + 1, process.pid]) == {}
        add = [
            "nsenter",
            f"--net=/proc/{process.pid}/ns/net",
            "ip",
            "link",
            "add",
            "d0",
            "type",
            "dummy",
        ]
        if subprocess.run(add, check=False, capture_output=True).returncode == 0:
            found = interfaces([process.pid])
            assert found is not None
            assert found["d0"].rx_bytes == 0
    finally:
        process.kill()
        process.wait()
