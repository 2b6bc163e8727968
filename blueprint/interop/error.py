"""What can be wrong with a checkpoint from elsewhere, said so that the user can mend it."""

from __future__ import annotations


class CheckpointError(ValueError):
    """Files that are missing, damaged or of a kind that is not read; the message names the file and says what to do."""
