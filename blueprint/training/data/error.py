"""The one error of the data layer."""


class DataError(ValueError):
    """Data that cannot be trained on; the message names the source or file, what is wrong and what would mend it."""
