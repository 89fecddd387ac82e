"""Every error that a caller may meet, in one tree.

    Error                            what all of them are
    ├── Permanent                    never retried, whoever raises it
    │   ├── InputError               the caller's fault; names the file or field and the limit
    │   │   ├── InvalidInput         an operation's input does not fit its type
    │   │   └── UnknownOperation     no operation of that name is loaded
    │   ├── Unserializable           a step returned what JSON cannot hold
    │   ├── WaitTimeout              no matching signal came in time
    │   └── StepFailed               a step, wait or child ended in failure (replayed ever after)
    ├── Transient                    worth another try, after `retry_after` seconds if given
    ├── StepTimeout                  a step's body ran past its timeout and was ended
    ├── MediaError                   a picture or sound tool failed
    ├── StorageError                 the database or a file could not be written
    │   └── StorageFull              no space is left, or a file limit is reached
    ├── Diverged                     the code no longer asks for what the journal remembers
    ├── NotFound                     no such run, artifact or operation for this tenant
    ├── Conflict                     the thing's state does not allow it
    │   └── KeyReused                an idempotency key came with another asking
    ├── Unauthorized                 no key, or none that is known and valid
    ├── Forbidden                    the key is known, and may not do this
    ├── OutOfRange                   a part of a file that begins behind its end
    ├── TooLarge                     a body or a file is over its limit
    ├── TooSlow                      a body did not come in time
    ├── TooMany                      a rate, or a number at once, is over its limit
    ├── AddressRefused               a URL that this server will not go to
    ├── Busy                         the server holds as much as it may, or is about to end
    ├── Unreachable                  another server did not answer as it should
    └── ConfigError                  the installation must be changed first
        ├── MissingNeed              an operation needs what nothing provides
        ├── SchemaTooNew             the database was written by a newer release
        └── WorkerHeld               another process works on this database file

A class carries its facts (`code`, `category`, `status`, `retriable`): surfaces translate them and
never read the text of a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

Category = Literal["input", "timeout", "network", "vendor", "moderation", "media", "internal"]


class Error(Exception):
    """The root. `retry_after` is in seconds and beats the policy's own delay."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    retriable: ClassVar[bool] = True
    category: Category = "internal"

    def __init__(
        self, message: str, *, category: Category | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        if category is not None:
            self.category = category


class Permanent(Error):
    """Another try cannot help; the step fails at once."""

    code = "permanent"
    retriable = False


class InputError(Permanent):
    """The caller's input is at fault; the message names the part and the limit."""

    code = "input"
    status = 422
    category: Category = "input"


class InvalidInput(InputError):
    """The input does not fit the operation's type."""

    code = "invalid_input"


class UnknownOperation(InputError):
    """No operation of that name is loaded."""

    code = "unknown_operation"
    status = 404


class Unserializable(Permanent):
    """A step returned a value that JSON, or its declared type, cannot hold."""

    code = "unserializable"


class WaitTimeout(Permanent):
    """No matching signal came before the timeout. `step` is the key of the wait."""

    code = "wait_timeout"
    status = 504
    category: Category = "timeout"

    def __init__(self, message: str, *, step: str | None = None) -> None:
        super().__init__(message)
        self.step = step


class StepFailed(Permanent):
    """A step, wait or child run ended in failure. The same on the first run and on replay.

    `step` is the step's key; `type` the class name of what the body raised.
    """

    code = "step_failed"

    def __init__(self, message: str, *, step: str, type: str, category: Category) -> None:  # noqa: A002 - the field's name in the journal and on the wire
        super().__init__(message, category=category)
        self.step = step
        self.type = type


class Transient(Error):
    """Worth another try; `retry_after` says in how many seconds."""

    code = "transient"
    status = 503
    category: Category = "network"


class StepTimeout(Error):
    """A step's body ran past its timeout and was ended."""

    code = "step_timeout"
    status = 504
    category: Category = "timeout"


class MediaError(Error):
    """A picture or sound tool failed."""

    code = "media"
    category: Category = "media"


class StorageError(Error):
    """The database or a file could not be written."""

    code = "storage"
    status = 503


class StorageFull(StorageError):
    """No space is left on the device, or a size limit is reached."""

    code = "storage_full"
    status = 507


class Diverged(Error):
    """The code asks for other steps than the journal remembers; the run is parked, not guessed on.

    `expected` is the journal's key (None: nothing more), `found` the key the code asked for
    (None: the code ended).
    """

    code = "diverged"
    status = 409
    retriable = False

    def __init__(self, message: str, *, expected: str | None, found: str | None) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found


class NotFound(Error):
    """No such thing, for this tenant."""

    code = "not_found"
    status = 404
    retriable = False
    category: Category = "input"


class Conflict(Error):
    """The thing's state does not allow what was asked."""

    code = "conflict"
    status = 409
    retriable = False
    category: Category = "input"


class KeyReused(Conflict):
    """The idempotency key was used for another asking; choose a new one for a new asking."""

    code = "idempotency_key_reused"
    status = 422


class Unauthorized(Error):
    """Nobody knows who asks: no key, or none that is known and valid."""

    code = "unauthorized"
    status = 401
    retriable = False
    category: Category = "input"


class Forbidden(Error):
    """Who asks is known, and may not do this; the message names the scope that it takes."""

    code = "forbidden"
    status = 403
    retriable = False
    category: Category = "input"


class OutOfRange(InputError):
    """A part of a file was asked for that begins behind its end, which is at `size` bytes."""

    code = "out_of_range"
    status = 416

    def __init__(self, message: str, *, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


class TooLarge(InputError):
    """A body or a file is over its limit, which the message names."""

    code = "too_large"
    status = 413


class TooSlow(InputError):
    """A body came so slowly, or stopped coming, that nobody waits for it any longer."""

    code = "too_slow"
    status = 408
    retriable = True


class TooMany(Error):
    """A rate, or a number at once, is over its limit; `retry_after` says when to come again."""

    code = "too_many"
    status = 429
    category: Category = "input"


class AddressRefused(InputError):
    """A URL that this server will not go to; the message names the rule."""

    code = "address_refused"


class Busy(Transient):
    """The server has as much as it may hold, or is about to end; come again."""

    code = "busy"
    category: Category = "internal"


class Unreachable(Transient):
    """Another server did not answer, or not as it should."""

    code = "unreachable"


class ConfigError(Error):
    """The installation must be changed before this can work; the message says how."""

    code = "config"
    retriable = False


class MissingNeed(ConfigError):
    """An operation asks for a capability that nothing provides."""

    code = "missing_need"


class SchemaTooNew(ConfigError):
    """The database was written by a newer release than this one."""

    code = "schema_too_new"


class WorkerHeld(ConfigError):
    """Another process works on this database file."""

    code = "worker_held"
    status = 409


def every_error(root: type[Error] = Error) -> Iterator[type[Error]]:
    """The tree above, parents first. What others derive from it is their own."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == __name__:
            yield from every_error(child)
