"""Training steps of an encoder and of an encoder-decoder, fp32, one thread: against transformers.

    bert    BERT's base shape (768, 12 heads, 3072, vocabulary 30,522) with 4 layers; the loss of 15 % of the tokens
    t5      T5's small shape (512, 8 heads, 2048, 6 + 6 layers, vocabulary 32,128) with its learned relative biases

Each is a model of transformers, saved and imported (`bp.import_hf`), so that both hold the same weights; the losses of
the first step must agree. Forward, loss, backward and AdamW (fused); no dropout unless asked for, no padding. Peers:
`BertForMaskedLM` and `T5ForConditionalGeneration` with eager and with sdpa attention, whichever is faster. Steps are
taken in turn in one process, ratios are medians of pairs.

Where ours gains: only labelled tokens go through BERT's head, and the cross-entropy makes its gradients chunk by chunk.

    python tests/benchmarks/bench_encoder.py [--only t5] [--batch 8] [--length 128] [--repeats 7] [--processor] [--json]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from bench_step import own_loss, step
from figures import OURS, Bar, Clock, Found, parser, tell
from llama_shape import compare
from peers import TRANSFORMERS, both, ours_of

BARS = (Bar("transformers' fastest", TRANSFORMERS, 1.0),)
Batch = tuple[Tensor, ...]


def bert(dropout: float) -> dict[str, nn.Module]:
    """BERT's, in both ways of transformers."""
    import transformers

    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return both(transformers.BertForMaskedLM, transformers.BertConfig(num_hidden_layers=4, **dropouts))


def t5_config(dropout: float) -> object:
    """T5's, as transformers says it."""
    import transformers

    sizes = {"d_model": 512, "num_layers": 6, "num_heads": 8, "d_ff": 2048, "vocab_size": 32128}
    return transformers.T5Config(**sizes, dropout_rate=dropout, decoder_start_token_id=0)


def t5(dropout: float) -> dict[str, nn.Module]:
    """T5's, in both ways of transformers."""
    import transformers

    return both(transformers.T5ForConditionalGeneration, t5_config(dropout))


def masked_batch(batch: int, length: int) -> Batch:
    """Ids and labels (B, T), of which 15 % count."""
    ids_BT = torch.randint(1000, 30522, (batch, length))
    counts_BT = torch.rand(batch, length).argsort(1) < round(0.15 * length)
    return ids_BT.masked_fill(counts_BT, 103), ids_BT.masked_fill(~counts_BT, -100)


def pairs_batch(batch: int, length: int) -> Batch:
    """Source ids (B, T), and target ids of half as many tokens: read behind the start (0), and to be told."""
    ids_BT, labels_BU = (torch.randint(2, 32000, (batch, count)) for count in (length, length // 2))
    return ids_BT, torch.cat([torch.zeros_like(labels_BU[:, :1]), labels_BU[:, :-1]], 1), labels_BU


def pairs_loss(model: nn.Module, ids_BT: Tensor, read_BU: Tensor, labels_BU: Tensor) -> Tensor:
    """As the objective `seq2seq` takes it."""
    return model.cross_entropy(model(ids_BT, decoder_input_ids=read_BU, logits=False).hidden, labels_BU)


def masked_loss_of_theirs(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """Their own."""
    return model(ids_BT, labels=labels_BT).loss


def pairs_loss_of_theirs(model: nn.Module, ids_BT: Tensor, read_BU: Tensor, labels_BU: Tensor) -> Tensor:
    """Their own."""
    return model(ids_BT, decoder_input_ids=read_BU, labels=labels_BU, use_cache=False).loss


Loss = Callable[..., Tensor]
CASES: dict[str, tuple[Callable[..., dict[str, nn.Module]], Callable[[int, int], Batch], Loss, Loss]] = {
    "bert": (bert, masked_batch, own_loss, masked_loss_of_theirs),
    "t5": (t5, pairs_batch, pairs_loss, pairs_loss_of_theirs),
}


def measure(name: str, batch: int, length: int, dropout: float, repeats: int, clock: Clock) -> Found:
    """Every step's seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    make, draw, own, other = CASES[name]
    references = make(dropout)
    models = {OURS: ours_of(references[TRANSFORMERS[0]]), **references}
    losses = {each: own if each == OURS else other for each in models}
    read = draw(batch, length)
    with torch.no_grad():
        first = [float(losses[each](model.eval(), *read)) for each, model in models.items()]
    agreed = {"the first losses agree to 1e-5": max(first) - min(first) < 1e-5 * first[0]}
    runs = {each: partial(step(model, losses[each]), *read) for each, model in models.items()}
    title = f"training step of {name}'s shape, fp32, one thread, {batch} x {length} tokens"
    return Found(title, batch * length, compare(runs, repeats, clock), BARS, agreed)


def main() -> int:
    """Print the figures; 1 if a bar is missed."""
    options = parser(__doc__, repeats=7)
    options.add_argument("--only", choices=list(CASES))
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--length", type=int, default=128)
    options.add_argument("--dropout", type=float, default=0.0)
    asked = options.parse_args()
    names = [asked.only] if asked.only else list(CASES)
    sizes = asked.batch, asked.length, asked.dropout
    return tell([measure(name, *sizes, asked.repeats, asked.clock) for name in names], asked.json)


if __name__ == "__main__":
    sys.exit(main())
