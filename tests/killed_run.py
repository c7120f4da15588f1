"""A training that ends in the middle of a step, as a kill would end it."""

from contextlib import contextmanager

from wsi_lpd.progress import Progress


class KilledError(Exception):
    pass


class Killer(Progress):
    """Ends the run: nothing after it is done."""

    def __init__(self, after):
        self.after = after

    @contextmanager
    def stage(self, name, total, unit):
        done = 0

        def advance(n):
            nonlocal done
            done += n
            if n and done > self.after:
                raise KilledError

        yield advance
