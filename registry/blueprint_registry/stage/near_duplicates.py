"""Each text once, small differences aside.

Legend: N documents, P hashes of each, W words of one, R runs of them.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from blueprint.component import register
from blueprint.kinds import Document, Dropped, Stage

#: Pairs of documents compared at once, and runs of words hashed at once.
_BLOCK, _RUNS = 1 << 14, 1 << 10
#: 2^64 over the golden ratio, made odd: what a hash is multiplied by (Knuth, 1998, §6.4).
_ODD = np.uint64(0x9E3779B97F4A7C15)


@register("near_duplicates", version=2)
class NearDuplicates(Stage):
    """Finds documents that share most of their runs of words, by MinHash (Broder, 1997; for sets of text: Lee et al.,
    2022, §4.2). Needs the extra `duplicates`. About half a kilobyte of memory a document, for 128 hashes."""

    traits: ClassVar[frozenset[str]] = frozenset({"compares"})

    similarity: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Of the runs of words in either of two documents, the share in both (Jaccard's index) from which they count as the
    same; estimated from the hashes."""

    words: PositiveInt = 5
    """Words in a run; case and white space do not count."""

    hashes: Annotated[int, Field(ge=16)] = 128
    """Hashes of a document: the error of the estimate is about 1 / √hashes."""

    keep: Literal["first", "all"] = "first"
    """`all` leaves nothing out, but puts those that are alike on the same side of the split."""

    seed: NonNegativeInt = 1
    """Draws the hash functions."""

    def sketch(self, document: Document) -> bytes:
        """(P,) its MinHash. Raises ValueError where the library is not installed."""
        made = _blank(self.hashes, self.seed).copy()
        runs_R = self._runs(document)
        for at in range(0, len(runs_R), _RUNS):
            made.update_batch(runs_R[at : at + _RUNS].tolist())
        values_P: NDArray[np.uint32] = made.hashvalues.astype(np.uint32)
        return values_P.tobytes()

    @property
    def sketch_size(self) -> int:
        """32 bits for each hash."""
        return 4 * self.hashes

    def over(self, documents: Iterable[Document], sketches: Iterable[bytes]) -> Iterator[Document | Dropped]:
        """Each document that is like none before it, or each with its group."""
        found = bytearray()
        for sketch in sketches:
            found += sketch
        first_N = self._first(np.frombuffer(found, dtype=np.uint32).reshape(-1, self.hashes))
        del found
        groups: dict[int, str] = {}
        alike = set(first_N[first_N != np.arange(len(first_N))].tolist())
        for number, (document, first) in enumerate(zip(documents, first_N.tolist(), strict=True)):
            if self.keep == "first":
                yield document if first == number else Dropped("much like an earlier one")
                continue
            if number in alike:
                groups[number] = (
                    document.group
                    or hashlib.blake2b(document.texts[0].encode(errors="replace"), digest_size=16).hexdigest()
                )
            yield replace(document, group=groups[first]) if first in alike else document

    def _runs(self, document: Document) -> NDArray[np.uint32]:
        """(R,) a hash of every run of words; of a shorter text, of all of it."""
        words = [word for text in document.texts for word in text.casefold().split()]
        # By spaces, which no word has, the words are told apart again as bytes, all at once.
        word_W = np.fromiter(map(crc32, " ".join(words).encode(errors="replace").split(b" ")), dtype=np.uint64)
        width = min(self.words, len(word_W))
        run_R = np.zeros(len(word_W) - width + 1, dtype=np.uint64)
        for at in range(width):
            run_R = run_R * _ODD + word_W[at : at + len(run_R)]
        # The upper half of a product hangs on all below it (Dietzfelbinger et al., 1997).
        return (run_R * _ODD >> np.uint64(32)).astype(np.uint32)

    def _first(self, hashes_NP: NDArray[np.uint32]) -> NDArray[np.int64]:
        """(N,) the first document that each is like, directly or through others; itself where there is none."""
        from datasketch import MinHashLSH

        index = MinHashLSH(threshold=self.similarity, num_perm=self.hashes)
        root = np.arange(len(hashes_NP))
        # Band by band over all documents at once: 8 bytes of each are held, where an index would hold kilobytes.
        for band in range(index.b):
            band_NR = np.ascontiguousarray(hashes_NP[:, band * index.r : (band + 1) * index.r])
            key_N = band_NR.view(np.dtype((np.void, band_NR.dtype.itemsize * index.r))).reshape(-1)
            order_N = np.argsort(key_N, kind="stable")
            same = np.flatnonzero(key_N[order_N[1:]] == key_N[order_N[:-1]])
            for at in range(0, len(same), _BLOCK):
                one, other = order_N[same[at : at + _BLOCK]], order_N[same[at : at + _BLOCK] + 1]
                alike = (hashes_NP[one] == hashes_NP[other]).mean(axis=1) >= self.similarity
                for a, b in zip(one[alike].tolist(), other[alike].tolist(), strict=True):
                    low, high = sorted((_root(root, a), _root(root, b)))
                    root[high] = low
        return np.array([_root(root, number) for number in range(len(root))], dtype=np.int64)


def _root(root: NDArray[Any], number: int) -> int:
    while root[number] != number:
        root[number] = root[root[number]]
        number = int(root[number])
    return number


@lru_cache(maxsize=2)
def _blank(hashes: int, seed: int) -> Any:
    """The MinHash of nothing, whose values come hashed already."""
    try:
        from datasketch import MinHash
    except ImportError as error:
        raise ValueError(
            "near duplicates are found by datasketch: pip install 'blueprint-lightning[duplicates]'"
        ) from error
    return MinHash(num_perm=hashes, seed=seed, hashfunc=int)
