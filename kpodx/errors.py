"""Every exception that kpodx raises on purpose.

::

    KpodxError                      exit code 1: the work failed
    ├── UsageError                  exit code 2: what the user gave cannot be used
    │   ├── ConfigError             a recipe, an override or an environment variable
    │   ├── DataError               a data file, its columns, or an answer in it
    │   ├── ModelError              a model or tokenizer that cannot be loaded or does not fit
    │   └── TeacherRefusedError     a teacher's server does not accept the key, the model or the request
    ├── RunError                    exit code 2: the run folder is foreign, locked or damaged
    ├── DeviceError                 exit code 2: the device asked for is not there
    ├── StorageError                exit code 1: a disk is full, refuses to be written, or fails; resumable
    ├── DivergedError               exit code 1: a loss became NaN or infinite
    ├── TeacherError                exit code 1: a teacher did not answer; what it answered is kept
    ├── WeightingError              exit code 1: mask learning cannot mean anything here
    ├── WorkerError                 exit code 1: a process that answers requests ended, or hangs
    ├── GateError                   exit code 3: accuracy or a device budget was not held
    ├── BudgetSpentError            exit code 4: the teacher's budget is spent; resumable
    └── MissingDependencyError      exit code 5: an optional package is not installed

A message says what happened, what was expected, what was got and where; the hint says what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class KpodxError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what happened, expected, got and where, in one or two sentences.
        hint: what the user can do about it, or None where nothing helps.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[KpodxError], message: str, hint: str | None) -> KpodxError:
    return kind(message, hint=hint)


class UsageError(KpodxError):
    """What the user gave cannot be used."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe, an override or an environment variable is wrong."""


class DataError(UsageError):
    """A data file, its columns, or an answer in it cannot be used."""


class ModelError(UsageError):
    """A model or tokenizer cannot be loaded, or does not fit the rest."""


class TeacherRefusedError(UsageError):
    """A teacher's server does not accept the key, the model or the request."""


class TeacherError(KpodxError):
    """A teacher did not answer; what it did answer is kept."""


class RunError(KpodxError):
    """A run folder is foreign, locked by another process, or damaged."""

    exit_code = 2


class DeviceError(KpodxError):
    """The device or number format asked for is not available."""

    exit_code = 2


class StorageError(KpodxError):
    """A disk is full, refuses to be written, or fails; what was finished is kept."""


class DivergedError(KpodxError):
    """A training loss became NaN or infinite."""


class WeightingError(KpodxError):
    """Mask learning would produce meaningless token weights."""


class WorkerError(KpodxError):
    """A process that answers requests ended, or hangs."""


class GateError(KpodxError):
    """Accuracy or a device budget was not held."""

    exit_code = 3


class BudgetSpentError(KpodxError):
    """The teacher's budget is spent; the phase resumes when it is raised."""

    exit_code = 4


class MissingDependencyError(KpodxError):
    """An optional package is not installed."""

    exit_code = 5
