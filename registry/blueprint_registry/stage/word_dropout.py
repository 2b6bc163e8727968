"""Copies without some of the words."""

import random

from blueprint.component import register
from blueprint_registry.stage._copies import Copies


@register("word_dropout")
class WordDropout(Copies):
    """Adds copies that lack some words, drawn by lot (Iyyer et al., 2015, §4; Wei & Zou, 2019, §2: random deletion).
    Copies are learned from, never measured on."""

    def changed(self, parts: list[str], drawn: random.Random) -> str:
        """Each word that is dropped goes with the white space after it."""
        kept = [drawn.random() >= self.share or not word for word in parts[::2]]
        spaces = [*parts[1::2], ""]
        return "".join(word + space for word, space, stays in zip(parts[::2], spaces, kept, strict=True) if stays)
