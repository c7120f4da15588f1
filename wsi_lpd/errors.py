"""The errors this library raises on purpose.

Every message says which file or key, what was found, what was expected and what to do. The command line
turns any `WsiLpdError` into that one message and exit status 1; anything else is a bug and keeps its traceback.
"""


class WsiLpdError(Exception):
    """Root of the errors that a user can act on."""


class SlideError(WsiLpdError):
    """A slide cannot be opened, read, or interpreted."""


class ImageError(WsiLpdError):
    """An image file cannot be read; its readers say which file, and raise it as an error of theirs."""


class StoreError(WsiLpdError):
    """A patch store is missing, damaged, or does not fit what was asked for."""


class BusyError(WsiLpdError):
    """Another process is writing the same output."""


class LabelError(WsiLpdError):
    """A label file or folder cannot be understood."""


class ConfigError(WsiLpdError):
    """A configuration file or key is wrong."""


class ModelError(WsiLpdError):
    """An encoder, weights file or run folder cannot be used."""


class OverlayError(WsiLpdError):
    """An overlay or mask cannot be written or read."""


class ClusterError(WsiLpdError):
    """A cluster does not answer, or its workers cannot do what they are asked to."""


class TrainingError(WsiLpdError):
    """Training cannot start or go on."""


class PeerError(TrainingError):
    """Another process of the same training failed, and has told why; this one has nothing to add."""
