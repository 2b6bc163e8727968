"""Words that carry the space before them, as `▁`."""

from typing import Any


def spaced(tokenizers: Any, before: str | None = None) -> tuple[Any, Any]:
    """What cuts before spaces, after the library's own cut `before`; and what turns the marks into spaces again."""
    marks = tokenizers.pre_tokenizers.Metaspace()
    decoder = tokenizers.decoders.Metaspace()
    if before is None:
        return marks, decoder
    return tokenizers.pre_tokenizers.Sequence([getattr(tokenizers.pre_tokenizers, before)(), marks]), decoder
