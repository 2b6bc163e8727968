"""What a model writes for held-out sources, and how near that comes to what was held out with them. No Lightning here.

Legend: B sources of a batch, S their tokens, U tokens of a target, its start with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from blueprint.files import write_atomic
from blueprint.inference.generate import generate
from blueprint.inference.prompt import known_start
from blueprint.plan import Plan
from blueprint.schema.writing import Writing
from blueprint.training.data.encoder import split
from blueprint.training.data.order import Shuffled
from blueprint.training.data.progress import reporter
from blueprint.training.error import TrainError
from blueprint.training.folder import Layout
from blueprint.training.restore import restore
from blueprint.training.task import Text

#: How many triples are shown.
SHOWN = 6


@dataclass(frozen=True)
class Pair:
    """A held-out document: its name, the text that is read and the one that should be written, as they were given."""

    name: str
    source: str
    wanted: str


@dataclass(frozen=True)
class Triple(Pair):
    """The same with what was written."""

    written: str


@dataclass(frozen=True)
class Score:
    """A score of all texts, and the same had the sources been copied; both of 100, the more the better."""

    title: str
    written: float
    copied: float


@dataclass(frozen=True)
class Written:
    """What was written for held-out sources, of so many in all, and its scores by name."""

    triples: list[Triple]
    held_out: int
    scores: dict[str, Score] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The scores, the counts and a few triples as plain values."""
        examples = [self.triples[len(self.triples) * n // SHOWN] for n in range(min(SHOWN, len(self.triples)))]
        return {
            "documents": len(self.triples),
            "held_out": self.held_out,
            "scores": {name: asdict(score) for name, score in self.scores.items()},
            "examples": [asdict(each) for each in examples],
        }

    def save(self, path: Path) -> None:
        """Write every triple as a line of JSON."""
        write_atomic(path, "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in self.triples))


def write(
    model: nn.Module, text: Text, said: Writing, *, batch_size: int | None = None, progress: bool | None = None
) -> Written:
    """What the model writes for held-out sources as `said`, each of them read as in training, and the scores of that.

    Raises `TrainError` where nothing says how a target begins.
    """
    counted = scorers(said, cast(Plan, model.plan))
    pairs = held_out(text, said.documents)
    texts = _written(model, text, said, pairs, batch_size or text.data.batch_size, progress)
    triples = [Triple(**asdict(pair), written=each) for pair, each in zip(pairs, texts, strict=True)]
    sources, wanted = ([getattr(each, name) for each in pairs] for name in ("source", "wanted"))
    found = {
        name: Score(title, score(texts, wanted), score(sources, wanted)) for name, (title, score) in counted.items()
    }
    return Written(triples, text.tokens.validation.documents, found)


def of_run(layout: Layout, text: Text, device: torch.device, progress: bool) -> Written | None:
    """What a finished run's model writes, by the weights that its validations measure, kept in the run's folder; None
    where the spec asks for nothing of the kind."""
    said, ema = text.spec.writing, text.spec.ema
    if said is None:
        return None
    weights: Literal["trained", "averaged"] = "trained" if ema is None else ema.validation
    # From the checkpoint: it is whole, however many processes held the model. What plugins it needs are loaded by now.
    model = restore(layout.root, device=device, weights=weights, allow_plugins=True)
    written = write(model, text, said, progress=None if progress else False)
    written.save(layout.written)
    return written


def scorers(said: Writing, plan: Plan) -> dict[str, tuple[str, Callable[[list[str], list[str]], float]]]:
    """What `said` measures of texts, by name: what it is called, and the function. Raises `TrainError` where a library
    is not installed."""
    found: dict[str, tuple[str, Callable[[list[str], list[str]], float]]] = {}
    for each in said.all_scores:
        # Two of one name differ in their settings.
        name = each.spec_name if each.spec_name not in found else f"{each.spec_name} {len(found) + 1}"
        try:
            found[name] = each.title or each.spec_name, each.build(plan.site)
        except ValueError as error:
            raise TrainError(f"writing.scores `{each.spec_name}`: {error}") from error
    return found


def held_out(text: Text, most: int) -> list[Pair]:
    """`most` held-out pairs of a spec's data, or all where there are no more, as they lie: their texts, not their ids.

    Where there are more it is always the same lot. The token files tell which documents were held out, and the source
    is read once more for what they say.
    """
    documents = text.tokens.validation
    order = Shuffled(documents.documents, text.spec.seed)
    chosen = {order[n] for n in range(min(most, documents.documents))}
    encoder = text.form.encoder()
    end = [] if documents.eos_id is None else [documents.eos_id]
    found, number, last = list[Pair](), 0, max(chosen)
    wanted = documents.document_name(0)
    for name, content, *_ in text.documents:
        # The same name may stand for others, too, which do not read the same.
        if name != wanted:
            continue
        data = content if isinstance(content, bytes) else content.encode()
        if not np.array_equal(np.concatenate([encoder.ids([data])[0], end]), documents.document(number)):
            continue
        if number in chosen:
            source, target = (part.decode() for part in split(data))
            found.append(Pair(name, source, target))
        if number == last:
            break
        number += 1
        wanted = documents.document_name(number)
    if len(found) < len(chosen):
        raise TrainError(f"{documents.label} has changed since its token files were made: {wanted} is not there")
    return found


def _written(
    model: Any, text: Text, said: Writing, pairs: Sequence[Pair], batch_size: int, progress: bool | None
) -> list[str]:
    """A text for every pair's source, in their order."""
    start, tokenizer = known_start(text.spec), cast(Any, text.tokenizer)
    eos, room = text.tokens.validation.eos_id, text.data.target_length or text.form.length
    if start is None or eos is None:
        raise TrainError("nothing says which id a target begins with, or ends with: say an `objective`")
    most = cast(Plan, model.plan).model.sides(model.plan.site)["decoder"].max_length
    settings: dict[str, Any] = {
        "max_new_tokens": room if most is None else min(room, most - 1),
        **({"temperature": 0} if said.beams == 1 else {}),
        **({"num_beams": said.beams, "length_penalty": said.length_penalty} if said.beams > 1 else {}),
        "start_id": start,
        "eos_id": eos,
    }
    sources = [[*map(int, tokenizer.encode(pair.source)), eos][: text.form.length] for pair in pairs]
    device = next(model.parameters()).device
    texts = [""] * len(pairs)
    with reporter(progress) as report, report("writing", sum(len(pair.source) for pair in pairs)) as advance:
        for rows in _batches(sources, batch_size):
            ids_BS, keep_BS = _padded([sources[row] for row in rows], eos)
            # A state that grows would be compiled anew for every length.
            with torch.compiler.set_stance("force_eager"):
                ids_BU = generate(model, ids_BS.to(device), attention_mask=keep_BS.to(device), **settings)
            for row, ids in zip(rows, ids_BU[:, 1:].tolist(), strict=True):
                texts[row] = tokenizer.decode(ids[: ids.index(eos)] if eos in ids else ids)
                advance(len(pairs[row].source))
    return texts


def _batches(sources: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """The numbers of sources that are about as long as each other, the longest first: what does not fit shows soon."""
    order = sorted(range(len(sources)), key=lambda row: -len(sources[row]))
    return (order[at : at + size] for at in range(0, len(order), size))


def _padded(rows: Sequence[Sequence[int]], filler: int) -> tuple[Tensor, Tensor]:
    """ids and whether they are real, both (B, S), filled up at the right."""
    width = max(map(len, rows))
    ids_BS = torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])
    size_B1 = torch.tensor([[len(row)] for row in rows])
    return ids_BS, torch.arange(width) < size_B1
