"""scikit-learn's digits as images, in a folder for each."""

from __future__ import annotations

from pathlib import Path

import pytest


def write(root: Path) -> Path:
    """Write them below `root`, which is given back; skips the test where a library is missing."""
    image, found = pytest.importorskip("PIL.Image"), pytest.importorskip("sklearn.datasets").load_digits()
    for number, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        (root / str(label)).mkdir(parents=True, exist_ok=True)
        image.fromarray((pixels * 15.9375).astype("uint8")).save(root / str(label) / f"{number}.png")
    return root
