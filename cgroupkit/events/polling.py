"""The descriptors of a watch, polled together."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from cgroupkit.events.sources import explained
from cgroupkit.events.subjects import Subject


class Polling:
    """One epoll, who each descriptor in it belongs to, and a bell for whoever waits."""

    def __init__(self) -> None:
        self._by_fd: dict[int, Subject] = {}
        try:
            self._epoll = select.epoll()
        except OSError as error:
            raise explained(error, "epoll", "open") from None
        try:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError as error:
            self._epoll.close()
            raise explained(error, "eventfd", "open") from None
        self._epoll.register(self._bell, select.EPOLLIN)

    def settle(self, subject: Subject) -> None:
        """Poll what is to be polled of *subject* now, and no more.

        Unregistered before it is closed: a fork of ours may hold it, and epoll would go on.
        """
        masks = subject.masks()
        if masks is None:
            return
        for fd in subject.fds - masks.keys():
            self._remove(subject, fd)
        for fd in masks.keys() - subject.fds:
            self._epoll.register(fd, masks[fd])
            self._by_fd[fd] = subject
            subject.fds.add(fd)
        subject.sweep()

    def dismiss(self, subject: Subject) -> None:
        for fd in list(subject.fds):
            self._remove(subject, fd)
        subject.close()

    def _remove(self, subject: Subject, fd: int) -> None:
        subject.fds.discard(fd)
        del self._by_fd[fd]
        self._epoll.unregister(fd)

    def ready(self) -> set[Subject]:
        return {self._by_fd[fd] for fd, _ in self._epoll.poll(0) if fd in self._by_fd}

    def wait(self, seconds: float) -> None:
        with suppress(InterruptedError):
            self._epoll.poll(seconds)

    def duplicate(self) -> int:
        """A descriptor of the whole, to be closed by the caller."""
        return os.dup(self._epoll.fileno())

    def ring(self) -> None:
        """Wake whoever waits, from now on."""
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        self._by_fd.clear()
        self._epoll.close()
        os.close(self._bell)
