"""The errors that this library raises deliberately.

Every message names the file or key and says what was found, what was expected and what to do. The command line prints
the message of any `WsiLpdError` and exits with status 1; any other exception is a bug and keeps its traceback.
"""


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


class PeerError(TrainingError):
    """Another process of the same training failed and has already reported why."""
