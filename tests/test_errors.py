"""Errors: each is a stdlib kind too, and survives pickling."""

from __future__ import annotations

import errno
import pickle

import pytest

from cgroupkit import errors, systemd
from cgroupkit.errors import CgroupKitError, FileError, errno_name, file_error

KINDS = {
    errors.InvalidValueError: ValueError,
    errors.UnsupportedError: NotImplementedError,
    errors.FormatError: ValueError,
    errors.DelegationError: PermissionError,
    errors.FreezeTimeoutError: TimeoutError,
    errors.KillTimeoutError: TimeoutError,
    errors.LaunchError: OSError,
    errors.ProgramNotFoundError: FileNotFoundError,
    errors.ProgramAccessError: PermissionError,
    errors.FileError: OSError,
    errors.NotFoundError: FileNotFoundError,
    errors.ExistsError: FileExistsError,
    errors.AccessError: PermissionError,
    errors.ReadOnlyError: OSError,
    errors.BusyError: OSError,
    errors.ProcessGoneError: ProcessLookupError,
    errors.RejectedError: ValueError,
    errors.FeatureError: NotImplementedError,
    errors.TopologyError: OSError,
    systemd.NoManagerError: ConnectionError,
}


def all_kinds() -> set[type]:
    found = {CgroupKitError}
    while more := {sub for kind in found for sub in kind.__subclasses__()} - found:
        found |= more
    return {kind for kind in found if kind.__module__ == "cgroupkit.errors"} - {CgroupKitError}


def test_every_error_is_in_the_table() -> None:
    assert all_kinds() <= set(KINDS)


@pytest.mark.parametrize(("kind", "standard"), KINDS.items(), ids=lambda kind: kind.__name__)
def test_an_error_is_ours_and_the_standard_librarys(kind: type, standard: type) -> None:
    assert issubclass(kind, CgroupKitError)
    assert issubclass(kind, standard)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind: type[CgroupKitError]) -> None:
    takes_errno = issubclass(kind, (FileError, errors.LaunchError))
    error = kind(errno.EINVAL, "told", "/x") if takes_errno else kind("told")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == "told"
    assert copy.args == error.args


def test_a_refusal_of_systemds_survives_pickling() -> None:
    error = systemd._RefusedError("org.x.No", "no")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.name) == (str(error), "org.x.No")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, errors.NotFoundError),
        (errno.ENODEV, errors.NotFoundError),
        (errno.EEXIST, errors.ExistsError),
        (errno.EACCES, errors.AccessError),
        (errno.EPERM, errors.AccessError),
        (errno.EROFS, errors.ReadOnlyError),
        (errno.EBUSY, errors.BusyError),
        (errno.ESRCH, errors.ProcessGoneError),
        (errno.EINVAL, errors.RejectedError),
        (errno.ERANGE, errors.RejectedError),
        (errno.EOPNOTSUPP, errors.FeatureError),
        (errno.EIO, errors.FileError),
    ],
)
def test_a_file_error_fits_its_errno_and_keeps_its_parts(number: int, kind: type) -> None:
    error = file_error(number, "told", "/a/b", "7")
    for it in (error, pickle.loads(pickle.dumps(error))):
        assert type(it) is kind
        assert (it.errno, it.filename, it.value, str(it)) == (number, "/a/b", "7", "told")


def test_an_errno_is_named() -> None:
    assert errno_name(errno.EBUSY) == "EBUSY (Device or resource busy)"
    assert errno_name(99999).startswith("99999 (")
