"""The machines that the tests run on besides this one: a new one is a new entry in GUESTS."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Guest:
    name: str
    kernel: str
    """A version of which Debian packages the kernel, as in "6.12": its newest build is taken."""
    boot: str
    """What becomes the first process: guest/boot-<this>."""
    append: str = ""
    """More words for the kernel's command line."""
    rows: tuple[str, ...] = ("root",)
    """The runs of pytest that guest/run-tests makes there."""


GUESTS = (
    Guest(name="v2-6.12", kernel="6.12", boot="systemd", rows=("root", "rootless")),
    Guest(name="v1-6.1", kernel="6.1", boot="v1", append="swapaccount=1"),
)
