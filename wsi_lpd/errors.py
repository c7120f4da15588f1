"""The errors that this library raises deliberately.

Every message names the file or key and says what was found, what was expected and what to do. The command line prints
the message of any `WsiLpdError` and exits with status 1; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping


class WsiLpdError(Exception):
    """Base class of the errors that a user can act on."""


class SlideError(WsiLpdError):
    """A slide cannot be opened, read, or interpreted."""


class ImageError(WsiLpdError):
    """An image file cannot be read; its readers say which file, and raise it as an error of theirs."""


class StoreError(WsiLpdError):
    """A patch store is missing, damaged, or not what was asked for."""


class BusyError(WsiLpdError):
    """Another process is already writing the same output."""


class LabelError(WsiLpdError):
    """A label file or folder cannot be read or makes no sense."""


class ConfigError(WsiLpdError):
    """A configuration file or key is invalid."""


class ModelError(WsiLpdError):
    """An encoder, weights file or run folder cannot be used."""


class OverlayError(WsiLpdError):
    """An overlay or mask cannot be written or read."""


class ClusterError(WsiLpdError):
    """A cluster does not answer, or its workers cannot do the work."""


class TrainingError(WsiLpdError):
    """Training cannot start or continue."""


class OptionError(WsiLpdError):
    """Options contradict each other, or one has a value it cannot have; the command line ends with status 2."""


class FileError(WsiLpdError):
    """The operating system refuses to read or write a file; the message is the file and the system's reason."""


class BatchError(WsiLpdError):
    """Some items of a call failed while the others were done.

    Attributes:
        failed: Error message of each item that failed, by its name.
        result: What the call returns for the items that were done.
    """

    def __init__(self, message: str, *, failed: Mapping[str, str], result: object) -> None:
        super().__init__(message)
        self.failed = dict(failed)
        self.result = result


class PeerError(TrainingError):
    """Another process of the same training failed and has already reported why."""


def one_line(err: BaseException) -> str:
    """The message of an error on one line, at most 200 characters; its type if it has none."""
    return " ".join(str(err).split())[:200] or type(err).__name__
