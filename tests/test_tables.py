"""Files with a line a key: rdma, misc and dmem, which few machines have, by their documented texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cgroupkit import Resources
from cgroupkit.controllers import CONTROLLERS, Controller, Dmem, Misc, Rdma, RdmaUse, Step
from cgroupkit.controllers.tables import TableSetting
from cgroupkit.errors import FormatError, InvalidValueError

REGION = "drm/0000:03:00.0/vram0"


def made(cls: type[Controller], tmp_path: Path, **texts: str) -> Any:
    for file, text in texts.items():
        (tmp_path / f"{cls.name}.{file}").write_text(text)
    controller: Any = cls(2, str(tmp_path), lambda _: controller)
    return controller


def texts(line: TableSetting[Any], controller: Controller, value: Any) -> list[str]:
    return [step.text for step in line.steps(controller, value)]


def test_rdma(tmp_path: Path) -> None:
    text = "mlx4_0 hca_handle=2 hca_object=2000 \nocrdma1 hca_handle=3 hca_object=max \n"
    rdma = made(Rdma, tmp_path, max=text, current="mlx4_0 hca_handle=1 hca_object=20 new=5\n")
    assert rdma.max == {
        "mlx4_0": RdmaUse(hca_handle=2, hca_object=2000),
        "ocrdma1": RdmaUse(hca_handle=3),
    }
    assert rdma.current["mlx4_0"].extra == {"new": "5"}
    assert texts(Rdma.max, rdma, {"mlx4_0": {"hca_handle": 5}}) == [
        "ocrdma1 hca_handle=max hca_object=max",
        "mlx4_0 hca_handle=5 hca_object=max",
    ]
    [step] = Rdma.max.changes(rdma, {"mlx4_0": {"hca_handle": 5}}, "rdma")
    assert step.text == "mlx4_0 hca_handle=5"
    assert [back.text for back in step.before()] == ["mlx4_0 hca_handle=2 hca_object=2000"]


def test_misc(tmp_path: Path) -> None:
    misc = made(
        Misc, tmp_path, max="sev 10\nsev_es max\n", current="sev 3\n", capacity="sev 50\n",
        events="sev.max 7\n",
    )  # fmt: skip
    assert misc.max == {"sev": 10, "sev_es": None}
    assert (misc.current, misc.capacity, misc.events) == ({"sev": 3}, {"sev": 50}, {"sev.max": 7})
    assert texts(Misc.max, misc, {"sev": 5}) == ["sev_es max", "sev 5"]
    assert texts(Misc.max, misc, {"sev": None, "sev_es": "max"}) == ["sev max", "sev_es max"]


def test_dmem(tmp_path: Path) -> None:
    dmem = made(
        Dmem, tmp_path, max=f"{REGION} max\n", low=f"{REGION} 1048576\n", current=f"{REGION} 5\n"
    )
    assert dmem.max == {REGION: None}
    assert dmem.low == {REGION: 1 << 20}
    assert dmem.current == {REGION: 5}
    assert texts(Dmem.max, dmem, {REGION: "200M"}) == [f"{REGION} 209715200"]
    assert texts(Dmem.low, dmem, {}) == [f"{REGION} 0"]


def test_max_where_a_number_is_expected(tmp_path: Path) -> None:
    misc = made(Misc, tmp_path, current="sev max\n")
    with pytest.raises(FormatError, match=r"misc\.current holds 'sev max"):
        _ = misc.current


def test_what_puts_a_line_back(tmp_path: Path) -> None:
    misc = made(Misc, tmp_path, max="sev 10\n")
    for text, before in {"sev 5": "sev 10", "tdx 5": "tdx max"}.items():
        step = Step(misc, "misc.max", text, unset=f"{text.split()[0]} max")
        assert step.before() == [Step(misc, "misc.max", before, unset=step.unset)]


@pytest.mark.parametrize(
    "value",
    [{"mlx4_0": {}}, {"mlx4_0": 5}, {"mlx4_0": {"handles": 1}}, {"": {"hca_handle": 1}}, {"a b": {}}, 5,
     {"mlx4_0": {"hca_handle": -2}}, {"mlx4_0": {"hca_handle": 2**31}}, "mlx4_0", ["mlx4_0:5"]],
)  # fmt: skip
def test_what_is_no_rdma_limit(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="rdma"):
        Resources(rdma=value)


def test_rdma_limits_as_text() -> None:
    asked = Resources(rdma="mlx4_0:hca_handle=2,hca_object=max").rdma
    assert asked == Resources(rdma={"mlx4_0": RdmaUse(hca_handle=2)}).rdma


def test_all_that_has_keys_is_a_table() -> None:
    lines = [line for cls in CONTROLLERS.values() for line in vars(cls).values()]
    tables = [line.option for line in lines if isinstance(line, TableSetting)]
    assert len(tables) >= 12
