"""The tokens of the weights that a run begins from: rows of a table mean something only with the tokenizer they were
learned with. No Lightning here."""

from __future__ import annotations

import json
import re
from typing import Any

from blueprint.kinds import Tokenizer
from blueprint.model.choose import within
from blueprint.schema.spec import Spec
from blueprint.training.error import TrainError
from blueprint.training.restore import Stored, open_stored, spec_of


def with_tokens(spec: Spec) -> Spec:
    """The spec of a run that begins from weights, with their tokenizer in place of one that it would learn anew.

    Weights without a spec, those of a model that reads no text, and parts without a row for each token leave it as it
    is; so does `strict: false`, unless there is a tokenizer to take. Raises `TrainError` where the tokens are others,
    `RestoreError` where there are no weights.
    """
    start, ours = spec.start, spec.tokenizer
    if start is None or ours is None:
        return spec
    stored = open_stored(start.from_)
    if stored.spec is None or not _rows_taken(spec, stored):
        return spec
    theirs = spec_of(stored, allow_plugins=bool(spec.plugins)).tokenizer
    if theirs is None or same_tokens(ours, theirs):
        return spec
    if ours.untrained and ours.learned is not None and _settings(ours) == _settings(theirs):
        taken = ours.of({**ours.to_plain(), ours.learned: getattr(theirs, ours.learned)})
        return spec.model_copy(update={"tokenizer": taken})
    if not start.strict:
        return spec
    does = "would learn tokens of its own" if ours.untrained else "has other tokens"
    raise TrainError(
        f"`start.from`: the weights of {start.from_} are of the tokens of its tokenizer, and the spec's, "
        f"`{ours.spec_name}`, {does}\n"
        f"  = fix: say the one the weights were learned with, `tokenizer: {_said(theirs)}`, "
        "or take parts without a row for each token with `start.parts`"
    )


def same_tokens(one: Any, other: Any) -> bool:
    """Whether two tokenizers have the same ids for the same tokens, whatever their types."""
    if one.untrained or other.untrained:
        return False
    if one.fingerprint == other.fingerprint:
        return True
    files = [each.exported().get("tokenizer.json") for each in (one, other)]
    return None not in files and len({json.dumps(json.loads(text or ""), sort_keys=True) for text in files}) == 1


def _rows_taken(spec: Spec, stored: Stored) -> bool:
    """Whether what is taken of the weights has a row for each token."""
    assert spec.start is not None
    parts = spec.start.parts
    chosen = [parts] if isinstance(parts, str) else parts
    return any(
        tensor.dim() and len(tensor) == spec.vocab_size
        for name, tensor in stored.state.items()
        if parts == "all" or any(within(name, part) for part in chosen)
    )


def _settings(tokenizer: Tokenizer) -> dict[str, Any]:
    """What is said of a tokenizer but for the file it was trained into."""
    return {name: value for name, value in tokenizer.to_plain().items() if name != tokenizer.learned}


def _said(tokenizer: Tokenizer) -> str:
    """A tokenizer as a spec says it, on one line, defaults left out."""
    plain = tokenizer.to_plain(defaults=False)
    return "{" + ", ".join(f"{name}: {_word(value)}" for name, value in plain.items()) + "}"


def _word(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[\w./-]*[A-Za-z_/][\w./-]*", value)
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
