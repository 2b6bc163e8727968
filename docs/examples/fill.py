"""Fills the gaps of a text with a model that has learned to.

    python docs/examples/fill.py runs/bert "a library to [MASK] images"
    python docs/examples/fill.py runs/t5 "This package <extra_id_0> the development <extra_id_1>."

One that tells hidden tokens says the likeliest for each; one that writes puts what it writes for each sentinel there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch

import blueprint as bp


@torch.inference_mode()
def guesses(model: Any, text: str, count: int = 5) -> list[list[tuple[str, float]]]:
    """For each mask token of a text the likeliest tokens and their probabilities, by a model that tells hidden ones."""
    tokenizer = model.spec.tokenizer
    ids_T = torch.tensor([*tokenizer.document(text), tokenizer.eos_id])
    p_TV = model(ids_T[None]).logits[0].softmax(-1)
    found = []
    for place in (ids_T == tokenizer.mask_id).nonzero()[:, 0].tolist():
        top = p_TV[place].topk(count)
        found.append([(tokenizer.decode([each]), p) for p, each in zip(*map(torch.Tensor.tolist, top), strict=True)])
    return found


def written(model: Any, text: str, most: int = 64) -> str:
    """A text with what the model writes for each of its sentinels in the sentinel's place: the likeliest, token by
    token."""
    tokenizer = model.spec.tokenizer
    source = [*tokenizer.encode(text).tolist(), tokenizer.eos_id]
    target = bp.generate(
        model, torch.tensor([source]), max_new_tokens=most, temperature=0, eos_id=tokenizer.eos_id
    )[0, 1:].tolist()  # fmt: skip
    out: list[int] = []
    for each in source[:-1]:
        out += span(target, each, tokenizer.sentinel_ids) if each in tokenizer.sentinel_ids else [each]
    said: str = tokenizer.decode(out)
    return said


def span(target: Sequence[int], sentinel: int, sentinels: Sequence[int]) -> list[int]:
    """What a target holds between a sentinel and the next one; nothing where it lacks the sentinel."""
    if sentinel not in target:
        return []
    after = target[target.index(sentinel) + 1 :]
    ends = [at for at, each in enumerate(after) if each in sentinels]
    return list(after[: ends[0] if ends else len(after)])


def main() -> None:
    """Print a text filled in, or what may stand in its gaps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run")
    parser.add_argument("texts", nargs="+", metavar="text")
    said = parser.parse_args()
    model = bp.restore(said.run)
    for text in said.texts:
        if model.plan.model.generates:
            print(written(model, text))
            continue
        for number, found in enumerate(guesses(model, text), 1):
            print(f"{text}  [{number}]  " + "  ".join(f"{word} {p:.0%}" for word, p in found))


if __name__ == "__main__":
    main()
