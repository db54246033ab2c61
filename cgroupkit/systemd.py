"""A delegated scope from systemd: the one lawful place for cgroups of our own on its machines.

systemd.io/CGROUP_DELEGATION: only units with Delegate=yes may have cgroups that systemd did not
make. We ask for one scope a user, ``cgroupkit.scope``, and keep it alive by a process of ours.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cgroupkit.errors import CgroupKitError, DelegationError

if TYPE_CHECKING:
    from jeepney.io.blocking import DBusConnection

UNIT = "cgroupkit.scope"
HOLDER = "holder"
"""The leaf in which the process sits that keeps the scope alive."""

_BUS = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_TIMEOUT = 25.0


class NoManagerError(CgroupKitError, ConnectionError):
    """No systemd manager answers on the bus."""


def delegated_scope() -> str:
    """The cgroup path of our scope, started if there is none yet.

    As root over the system bus, else over the user's. Raises :class:`NoManagerError` where nobody
    answers, :class:`DelegationError` where systemd refuses.
    """
    with _connection() as bus:
        path = _control_group(bus) or _start(bus)
    _settle(path)
    return path


def expected_scope() -> tuple[str, bool]:
    """Where our scope is, and True; or where it would be, and False. Nothing is started."""
    with _connection() as bus:
        running = _control_group(bus)
        if running:
            return running, True
        properties = "org.freedesktop.DBus.Properties"
        ((_, manager),) = _call(
            bus, _PATH, properties, "Get", "ss", (f"{_BUS}.Manager", "ControlGroup")
        )
        default = "system.slice" if os.geteuid() == 0 else "app.slice"
        return f"{str(manager).rstrip('/')}/{default}/{UNIT}", False


def set_unit_properties(unit: str, properties: list[tuple[str, tuple[str, Any]]]) -> None:
    """Change what systemd has on record for *unit*, until the next boot (SetUnitProperties)."""
    with _connection() as bus:
        body = (unit, True, properties)
        _call(bus, _PATH, f"{_BUS}.Manager", "SetUnitProperties", "sba(sv)", body)


@contextmanager
def _connection() -> Iterator[DBusConnection]:
    from jeepney.io.blocking import open_dbus_connection  # noqa: PLC0415

    connection, reason = None, "no bus socket is there"
    for address in _addresses():
        try:
            connection = open_dbus_connection(address)
            break
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            reason = str(error) or type(error).__name__
    if connection is None:
        bus = "system" if os.geteuid() == 0 else "user"
        raise NoManagerError(f"the {bus} bus cannot be reached ({reason})")
    try:
        yield connection
    finally:
        connection.close()


def _addresses() -> list[str]:
    if os.geteuid() == 0:
        return ["SYSTEM"]
    directories = [os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.geteuid()}"]
    sockets = [f"{directory}/bus" for directory in directories if directory]
    return [f"unix:path={socket}" for socket in sockets if os.path.exists(socket)] + ["SESSION"]


def _call(
    bus: DBusConnection, path: str, interface: str, method: str, signature: str, body: tuple[Any, ...]
) -> Any:
    """Call a method of systemd's; the reply's body. A D-Bus error is a :class:`_RefusedError`."""
    from jeepney import DBusAddress, MessageType, new_method_call  # noqa: PLC0415

    address = DBusAddress(path, bus_name=_BUS, interface=interface)
    try:
        reply = bus.send_and_get_reply(
            new_method_call(address, method, signature, body), timeout=_TIMEOUT
        )
    except (OSError, TimeoutError) as error:
        raise NoManagerError(f"systemd did not answer {method}: {error}") from error
    if reply.header.message_type is MessageType.error:
        from jeepney import HeaderFields  # noqa: PLC0415

        name = reply.header.fields.get(HeaderFields.error_name, "")
        raise _RefusedError(str(name), str(reply.body[0] if reply.body else ""))
    return reply.body


class _RefusedError(DelegationError):
    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"systemd refused: {text or name}")
        self.name = name
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.text)


def _control_group(bus: DBusConnection) -> str | None:
    """Where our scope is, or None when it is not running."""
    try:
        (unit,) = _call(bus, _PATH, f"{_BUS}.Manager", "GetUnit", "s", (UNIT,))
        ((_, path),) = _call(
            bus, unit, "org.freedesktop.DBus.Properties", "Get", "ss", (f"{_BUS}.Scope", "ControlGroup")
        )
    except _RefusedError:
        return None
    return str(path) or None


def _start(bus: DBusConnection) -> str:
    holder = _spawn_holder()
    try:
        _start_scope(bus, holder)
        deadline = time.monotonic() + _TIMEOUT
        while not (path := _control_group(bus)):  # another program has asked for it just now
            if time.monotonic() > deadline:
                raise DelegationError(f"systemd started {UNIT} but gives no cgroup for it")
            time.sleep(0.01)
        if not _owns(path, holder):  # another program was faster; its holder holds for both
            _end(holder)
        return path
    except BaseException:
        _end(holder)
        raise


def _spawn_holder() -> int:
    from cgroupkit.sandbox.launch import launcher_path  # noqa: PLC0415

    launcher = launcher_path()
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    return os.posix_spawn(launcher, [launcher, "--hold"], {}, file_actions=null, setsid=True)


def _end(pid: int) -> None:
    try:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def _start_scope(bus: DBusConnection, holder: int) -> None:
    """Ask for the scope and wait until systemd has done the job."""
    from jeepney import DBusAddress, MatchRule, new_method_call  # noqa: PLC0415

    finished = MatchRule(type="signal", sender=_BUS, interface=f"{_BUS}.Manager", member="JobRemoved")
    dbus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
    _call(bus, _PATH, f"{_BUS}.Manager", "Subscribe", "", ())
    bus.send_and_get_reply(
        new_method_call(dbus, "AddMatch", "s", (finished.serialise(),)), timeout=_TIMEOUT
    )
    properties = [
        ("Description", ("s", "Control groups of cgroupkit")),
        ("PIDs", ("au", [holder])),
        ("Delegate", ("b", True)),
        ("CPUAccounting", ("b", True)),
        ("MemoryAccounting", ("b", True)),
        ("TasksAccounting", ("b", True)),
        ("DefaultDependencies", ("b", False)),
    ]
    # Signals come from systemd's unique name, so the rule for our side has no sender.
    arrived = MatchRule(type="signal", interface=f"{_BUS}.Manager", member="JobRemoved")
    with bus.filter(arrived, bufsize=64) as jobs:
        try:
            (job,) = _call(
                bus,
                _PATH,
                f"{_BUS}.Manager",
                "StartTransientUnit",
                "ssa(sv)a(sa(sv))",
                (UNIT, "fail", properties, []),
            )
        except _RefusedError as error:
            if error.name.endswith("UnitExists"):
                return
            raise
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                body = bus.recv_until_filtered(jobs, timeout=deadline - time.monotonic()).body
            except TimeoutError:
                raise DelegationError(
                    f"systemd did not start {UNIT} within {_TIMEOUT:.0f} s; `systemctl status {UNIT}` "
                    "may say why"
                ) from None
            if body[1] == job:
                if body[3] != "done":
                    raise DelegationError(f"systemd could not start {UNIT}: the job {body[3]}")
                return


def _owns(path: str, holder: int) -> bool:
    from cgroupkit.hierarchy import paths_of  # noqa: PLC0415

    return f"{paths_of(holder).get('')}/".startswith(f"{path}/")


def _settle(path: str) -> None:
    """Move the holder to a leaf, so that the scope's children can have controllers.

    Whoever comes first does it: the program that started the scope may be slower, or dead.
    """
    from cgroupkit.cgroup import Cgroup  # noqa: PLC0415

    Cgroup(path).vacate(HOLDER)
