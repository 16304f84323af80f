"""The one error of this benchmark."""


class ScaleoutError(Exception):
    """The benchmark cannot run, or a fleet did not become what it was told to in time."""
