"""Find Debian's archive by way of this machine's apt, and take kernels from it."""

import os
import re
import urllib.request
from pathlib import Path

from .tools import SetupError, run

RELEASE = "bookworm"
# The last two have newer kernels; a mirror may lack them.
SUITES = (RELEASE, f"{RELEASE}-backports", f"{RELEASE}-security")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def use_proxy_of_apt() -> None:
    for scheme in ("http", "https"):
        name = f"Acquire::{scheme}::Proxy"
        proxy = run("apt-config", "dump", "--format", "%v", name).decode().strip()
        if proxy and proxy != "DIRECT":
            os.environ.setdefault(f"{scheme}_proxy", proxy)


def find_mirrors() -> dict[str, str]:
    """Each of the suites that can be had, and the address that serves it."""
    sites = _sites()
    if not sites:
        # Images of Debian come without the lists; apt knows its sources once it has them.
        run("apt-get", "update", hint="Check the network and /etc/apt.")
        sites = _sites()
    addresses = [address for site in dict.fromkeys(sites) for address in _addresses(site)]
    mirrors = {}
    for suite in SUITES:
        serving = (address for address in addresses if _serves(address, suite))
        if (address := next(serving, None)) is not None:
            mirrors[suite] = address
    if RELEASE not in mirrors:
        raise SetupError(
            f"none of apt's sources serves Debian {RELEASE}: {' '.join(addresses) or 'none'}\n"
            "Check the network and /etc/apt, or run the tests with --native."
        )
    return mirrors


def _sites() -> list[str]:
    return run("apt-get", "indextargets", "--format", "$(SITE)").decode().split()


def _addresses(site: str) -> list[str]:
    if not site.startswith("mirror+file:"):
        return [site.rstrip("/")]
    lines = Path(site.removeprefix("mirror+file:")).read_text().splitlines()
    return [line.split()[0].rstrip("/") for line in lines if line and not line.startswith("#")]


def _serves(address: str, suite: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/dists/{suite}/Release", timeout=30) as answer:
            return b"\nOrigin: Debian" in b"\n" + answer.read(4096)
    except (OSError, ValueError):
        return False


class Archive:
    """The release's packages, whatever release this machine runs: apt with a state of its own."""

    def __init__(self, directory: Path, mirrors: dict[str, str]) -> None:
        for name in ("etc", "state/lists/partial", "cache/archives/partial", "debs"):
            (directory / name).mkdir(parents=True)
        self.directory = directory
        sources = (
            f"deb [arch=amd64 signed-by={KEYRING}] {address} {suite} main\n"
            for suite, address in mirrors.items()
        )
        (directory / "etc/sources.list").write_text("".join(sources))
        self._apt("apt-get", "update")

    def kernel(self, version: str, into: Path) -> str:
        """Unpack the newest build of a kernel; its release, as uname -r has it."""
        # The cloud flavour has the same cgroup configuration in a third of the size.
        pattern = rf"^linux-image-({re.escape(version)}\.[0-9].*-cloud-amd64)$"
        found = self._apt("apt-cache", "search", "--names-only", pattern).decode()
        releases = re.findall(pattern.rstrip("$") + " ", found, re.MULTILINE)
        if not releases:
            raise SetupError(f"Debian {RELEASE} has no kernel {version} in its archive any more")
        release = max(releases, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
        self._apt("apt-get", "download", f"linux-image-{release}")
        (package,) = self.directory.glob(f"debs/linux-image-{release}_*.deb")
        # No maintainer scripts: they would make an initramfs and look for a boot loader.
        run("dpkg-deb", "--extract", package, into)
        return str(release)

    def _apt(self, program: str, *arguments: str) -> bytes:
        options = {
            "Dir::Etc": f"{self.directory}/etc/",
            "Dir::State": f"{self.directory}/state/",
            "Dir::Cache": f"{self.directory}/cache/",
            "Acquire::Languages": "none",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        hint = "Check the network, or run the tests with --native."
        return run(program, *flags, *arguments, cwd=self.directory / "debs", hint=hint)
