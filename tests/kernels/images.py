"""Build what the guests boot, once: a root file system, and a kernel and initramfs for each."""

import fcntl
import hashlib
import lzma
import os
import platform
import shutil
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .archive import RELEASE, Archive, find_mirrors, use_proxy_of_apt
from .guests import GUESTS
from .tools import CHECKOUT, CONTAINED, SetupError, run, step

HERE = Path(__file__).parent
RECIPE = (HERE / "images.py", HERE / "archive.py", HERE / "guest/init")
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "kmod", "procps",
    "iproute2", "util-linux", "busybox-static", "python3", "bubblewrap", "runc", "crun",
)  # fmt: skip
# Nothing but the tests speaks on the console, and nothing starts in the middle of them.
MASKED = (
    "getty@.service", "serial-getty@.service", "systemd-update-utmp.service",
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "fstrim.timer", "systemd-tmpfiles-clean.timer",
)  # fmt: skip
UNUSED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    *(f"usr/share/{d}" for d in ("doc", "locale", "man")),
)
MODULES = ("virtio_pci", "virtio_blk")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
PYTHON = "3.11"
KEPT_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True)
class Image:
    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "root.ext4"

    def kernel(self, version: str) -> Path:
        return self.directory / f"vmlinuz-{version}"

    def initramfs(self, version: str) -> Path:
        return self.directory / f"initramfs-{version}"


def cached(cache: Path, pip: list[str]) -> Image:
    """The image that the recipe describes, built now if it was not before."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    dependencies: list[str] = project["project"]["dependencies"]
    kernels = sorted({guest.kernel for guest in GUESTS})
    choices = repr((kernels, dependencies, project["dependency-groups"]))
    recipe = [*(path.read_bytes() for path in RECIPE), choices.encode()]
    key = hashlib.sha256(b"\0".join(recipe)).hexdigest()[:12]
    image = Image(cache / f"image-{key}")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.directory.exists():
            _forget(cache)
            _build(image.directory, kernels, dependencies, pip)
    os.utime(image.directory)
    return image


def _forget(cache: Path) -> None:
    """Remove what an interrupted build left, and images that no checkout has used for long."""
    for directory in cache.glob("building-*"):
        shutil.rmtree(directory)
    for directory in cache.glob("image-*"):
        if time.time() - directory.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(directory)


def _build(final: Path, kernels: list[str], dependencies: list[str], pip: list[str]) -> None:
    if os.getuid() != 0:
        raise SetupError("building the guests' image needs root; without it, use --native")
    if platform.machine() != "x86_64":
        raise SetupError("the guests' image can only be built on x86_64: use --native")
    use_proxy_of_apt()
    mirrors = find_mirrors()
    with tempfile.TemporaryDirectory(prefix="building-", dir=final.parent) as name:
        building = Path(name)
        root, image = building / "root", Image(building / "image")
        image.directory.mkdir()
        with step(f"root file system of Debian {RELEASE}"):
            _debootstrap(root, mirrors[RELEASE])
        modules = root / "lib/modules"
        modules.mkdir()
        archive = Archive(building / "apt", mirrors)
        for version in kernels:
            with step(f"Linux {version}"):
                # Not into the root: that would replace its link to /usr/lib.
                unpacked = building / version
                release = archive.kernel(version, unpacked)
                shutil.move(unpacked / f"boot/vmlinuz-{release}", image.kernel(version))
                shutil.move(unpacked / f"lib/modules/{release}", modules / release)
                run("chroot", root, "depmod", release)
                initramfs = _initramfs(building / "initramfs", root, modules / release)
                image.initramfs(version).write_bytes(initramfs)
        with step("Python packages for the guests"):
            _python_packages(root, dependencies, pip)
        with step("disk image"):
            for directory in UNUSED:
                shutil.rmtree(root / directory, ignore_errors=True)
            run("mke2fs", "-q", "-t", "ext4", "-d", root, image.root, "2G")
        image.directory.rename(final)


def _debootstrap(root: Path, mirror: str) -> None:
    packages = "--include=" + ",".join(PACKAGES)
    options = ("--variant=minbase", "--arch=amd64", packages)
    run(*CONTAINED, "debootstrap", *options, RELEASE, root, mirror, hint="Check the network.")
    run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "tester")
    run("chroot", root, "systemd-machine-id-setup")
    run("chroot", root, "systemctl", "mask", *MASKED)
    (root / "etc/hostname").write_text("guest\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost guest\n::1 localhost\n")
    (root / "payload").mkdir()
    lingering = root / "var/lib/systemd/linger/tester"
    lingering.parent.mkdir(parents=True, exist_ok=True)
    lingering.touch()


def _python_packages(root: Path, dependencies: list[str], pip: list[str]) -> None:
    platforms = [f"--platform={name}" for name in PLATFORMS]
    wanted = [*dependencies, "--group", f"{CHECKOUT}/pyproject.toml:tests"]
    target = ["--target", str(root / "opt/python"), f"--python-version={PYTHON}"]
    run(*pip, "install", "--only-binary=:all:", *platforms, *target, *wanted)
    run("chroot", root, "python3", "-m", "compileall", "-q", "/opt/python")


def _initramfs(tree: Path, root: Path, modules: Path) -> bytes:
    shutil.rmtree(tree, ignore_errors=True)
    for directory in ("bin", "dev", "proc", "modules", "root"):
        (tree / directory).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", tree / "bin/busybox")
    shutil.copy(HERE / "guest/init", tree / "init")
    (tree / "init").chmod(0o755)
    order = []
    for path in _needed(modules):
        compressed = path.suffix == ".xz"
        name = path.stem if compressed else path.name
        module = path.read_bytes()
        (tree / "modules" / name).write_bytes(lzma.decompress(module) if compressed else module)
        order.append(name)
    (tree / "modules/order").write_text("\n".join(order) + "\n")
    files = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    busybox = tree / "bin/busybox"
    return run(busybox, "cpio", "-o", "-H", "newc", cwd=tree, stdin=files.encode() + b"\n")


def _needed(modules: Path) -> list[Path]:
    """The files of MODULES and of what they depend on, in the order of loading."""
    dependencies = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        # depmod lists what has to be loaded first last.
        dependencies[Path(path).name.split(".")[0]] = [*reversed(needs.split()), path]
    # What is not listed is built into the kernel.
    paths = [path for name in MODULES for path in dependencies.get(name, ())]
    return [modules / path for path in dict.fromkeys(paths)]
