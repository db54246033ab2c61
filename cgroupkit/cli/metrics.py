"""cgroupkit metrics: serve the metrics of cgroups to Prometheus."""

from __future__ import annotations

import argparse
import errno
import signal
import socket
from typing import Any

from cgroupkit.cli import target
from cgroupkit.cli.messages import UsageError, put, say
from cgroupkit.cli.parsing import Parser, names, seconds
from cgroupkit.containers import containers
from cgroupkit.errors import CgroupKitError, errno_name

DEFAULT = "127.0.0.1:9753"
NOTHING = "no container is running now; name cgroups, or give --tree / for all of them"


def arguments(parser: Parser, name: str) -> None:
    parser.add_argument("--listen", metavar="ADDR", default=DEFAULT, help=f"HOST:PORT ({DEFAULT})")
    parser.add_argument("--tree", metavar="PATH", help="all cgroups below this one")
    parser.add_argument(
        "--timeout", metavar="SECONDS", default="5", help="read no more cgroups after that (5)"
    )
    parser.add_argument("--once", action="store_true", help="print the metrics, and serve nothing")
    names(parser, optional=True)
    parser.description = (
        "The metrics of the running containers, of the cgroups named, or of all below --tree, under\n"
        "cAdvisor's names, at http://ADDR/metrics."
    )
    parser.example(
        "cgroupkit metrics --listen :9753 web", "cgroupkit metrics --once --tree /system.slice"
    )


def main(args: argparse.Namespace) -> int:
    host, port = address(args.listen)
    timeout = seconds(args.timeout, "--timeout")
    if args.names and args.tree:
        raise UsageError("give names or --tree, not both")
    try:
        from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app  # noqa: PLC0415

        from cgroupkit.prometheus import CgroupCollector  # noqa: PLC0415
    except ImportError:
        say('metrics needs prometheus_client: pip install "cgroupkit[prometheus]"')
        return 1
    registry = CollectorRegistry()
    named = [target.find(name) for name in args.names]
    tree = target.find(args.tree) if args.tree else None
    nothing = not named and not tree and next(containers(), None) is None
    collector = CgroupCollector(named or None, tree=tree, registry=registry, timeout=timeout)
    with collector:
        if args.once:
            if nothing:
                say(NOTHING)
            put(generate_latest(registry).decode().rstrip("\n"))
            return 0
        return _serve(args.listen, host, port, plain(make_wsgi_app(registry)), nothing)


def plain(app: Any) -> Any:
    """*app*, in plain text where it fails over what the client accepts.

    prometheus_client does over a version that is not in numbers.
    """

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            return app(environ, start_response)
        except (ValueError, TypeError):
            return app({**environ, "HTTP_ACCEPT": ""}, start_response)

    return answer


def _serve(listen: str, host: str, port: int, app: Any, nothing: bool) -> int:
    from cgroupkit.cli.serving import Server  # noqa: PLC0415

    ends = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    # Blocked in all threads to come: one that took a signal would not wake this one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        server = Server(host, port, app)
        shown = "*" if listen.startswith(":") else f"[{host}]" if ":" in host else host
        say(f"serving http://{shown}:{server.server_port}/metrics")
        if nothing:
            say(NOTHING)
        signal.sigwait(ends)
        server.end()
        return 0
    except CgroupKitError:
        raise
    except (OSError, UnicodeError) as error:
        say(f"cannot listen on {listen}: {_why(error)}")
        return 1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _why(error: OSError | UnicodeError) -> str:
    """What is wrong with the address, and what to do."""
    here = "give an address of this machine"
    if isinstance(error, UnicodeError):
        return f"that is no host's name: {here}"
    if isinstance(error, socket.gaierror) or not error.errno:
        return f"{error.strerror}: {here}"
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        here = "give a free port above 1023"
    return f"{errno_name(error.errno)}: {here}"


def address(text: str) -> tuple[str, int]:
    """HOST and PORT of ``HOST:PORT``, ``[HOST]:PORT``, ``:PORT`` (all addresses) or ``PORT`` (ours)."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) < 6) or int(port) > 65535:
        raise UsageError(
            f"--listen {text!r} is not valid: give HOST:PORT, [IPV6]:PORT, :PORT (all addresses) "
            "or PORT (this machine alone), with a port up to 65535 (0: any that is free)"
        )
    return host.strip("[]") or ("0.0.0.0" if ":" in text else "127.0.0.1"), int(port)
