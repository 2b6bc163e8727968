"""Greedy decoding, fp32, one thread if no more are asked for: tokens a second against peers, and matrix products alone.

    one      one prompt, the 31.6 M-parameter network in the shape of Llama: transformers' `generate` (eager and sdpa
             attention), LitGPT's, x-transformers', and a loop of bare functions for this network alone (`bare.py`).
             The bound: every token through every matrix, nothing else.
    batch    eight prompts of unequal length on the same network, padded on the left: transformers' `generate`
    pairs    T5's small shape writing for eight sources of unequal length: transformers' `generate`

Weights are shared by way of a saved checkpoint (`bp.import_hf`; LitGPT's are copied, x-transformers has its own), and
whoever has the same weights must write the same ids. No row ends before its time. Runs are taken in turn in one
process, ratios are medians of pairs.

What stands in the way of more: where the products alone take two thirds of transformers' time, as on the CPU this was
written on, the bare loop reaches 1.26 of its speed. Beyond that only a compiler goes, or other numbers than float32.
With two threads the products take a third, and torch's own calls and Python's, whose code the weights push out of the
caches with every layer, the rest: 0.4 ms a layer where a small network takes 0.2. Queries, keys and values in one
product, gate and up in one, and both rotations in one were tried and change nothing; matrices that lie by columns save
a tenth of the products of one row and cost a tenth of eight rows'; the whole step compiled (inductor) takes 0.85 of the
time after a minute of compiling.
Where ours gains: keys and values have their room from the start, and a few rows go through a large matrix piece by
piece (`blueprint/ops/linear.py`), which takes half to nine tenths of the plain product's time.

    python tests/benchmarks/bench_decode.py [--only one] [--tokens 128] [--threads 1] [--repeats 9] [--processor]
        [--json]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from bare import BARE, bare
from bench_encoder import t5
from figures import OURS, PRODUCTS, Bar, Clock, Found, parser, tell
from llama_shape import VOCABULARY, compare, llama_config, multiply, weights
from peers import LITGPT, TRANSFORMERS, X_TRANSFORMERS, both, lacking, litgpt, ours_of, x_transformers

import blueprint as bp

FASTEST = Bar("transformers' fastest", TRANSFORMERS, 1.35)
Write = Callable[[], Tensor]


def llama() -> dict[str, nn.Module]:
    """Ours and transformers', with the same weights."""
    import transformers

    return shared(both(transformers.LlamaForCausalLM, llama_config()))


def shared(references: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Those of transformers and ours, ready to write."""
    models = {OURS: ours_of(references[TRANSFORMERS[0]]), **references}
    return {name: model.eval() for name, model in models.items()}


def writers(models: dict[str, nn.Module], ids_BT: Tensor, mask_BT: Tensor, tokens: int) -> dict[str, Write]:
    """Each model's own way to write `tokens` ids (B, ≥ tokens), its last ones new."""
    asked = {"min_new_tokens": tokens, "max_new_tokens": tokens, "do_sample": False, "use_cache": True}
    padded = None if bool(mask_BT.all()) else mask_BT
    pads = {"pad_token_id": 0, "eos_token_id": None}
    found: dict[str, Write] = {
        OURS: lambda: bp.generate(models[OURS], ids_BT, tokens, temperature=0, attention_mask=padded)
    }
    for name in TRANSFORMERS:
        found[name] = lambda name=name: models[name].generate(ids_BT, attention_mask=mask_BT, **asked, **pads)
    return found


def litgpt_writer(ours: nn.Module, ids_1T: Tensor, tokens: int) -> Write:
    """LitGPT's loop, with a cache of the length that is needed, as its command has it."""
    from litgpt.generate.base import generate

    model, length = litgpt(ours).eval(), ids_1T.shape[1] + tokens
    model.max_seq_length = length
    model.set_kv_cache(batch_size=1)
    return lambda: generate(model, ids_1T[0], length, temperature=0.0, top_p=0.0)[None]


def x_transformers_writer(ids_1T: Tensor, tokens: int) -> Write:
    """x-transformers' loop with its cache."""
    from x_transformers import AutoregressiveWrapper

    model = AutoregressiveWrapper(x_transformers()).eval()
    return lambda: model.generate(ids_1T, tokens, temperature=0.0, cache_kv=True)


def products(matrices: list[Tensor], tokens: int) -> Callable[[], None]:
    """The bound."""
    multiplied = multiply(matrices, 1)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(tokens):
                multiplied()

    return run


def unequal(batch: int, longest: int, vocabulary: int, left: bool) -> tuple[Tensor, Tensor]:
    """Ids (B, T) and masks of rows from a quarter of `longest` to all of it, padded on one side with 0."""
    length_B = torch.linspace(longest // 4, longest, batch).round().long()
    place_T = torch.arange(longest)
    place_T = place_T.flip(0) if left else place_T
    mask_BT = (place_T < length_B[:, None]).long()
    return torch.randint(2, vocabulary, (batch, longest)) * mask_BT, mask_BT


def one(prompt: int, tokens: int, repeats: int, clock: Clock) -> Found:
    """One prompt."""
    models = llama()
    ids_1T = torch.randint(VOCABULARY, (1, prompt))
    runs = writers(models, ids_1T, torch.ones_like(ids_1T), tokens)
    if LITGPT not in lacking():
        runs[LITGPT] = litgpt_writer(models[OURS], ids_1T, tokens)
    runs[BARE] = bare(models[OURS], ids_1T, tokens)
    agreed = {"all write the same ids": same(runs, tokens)}
    if X_TRANSFORMERS not in lacking():
        runs[X_TRANSFORMERS] = x_transformers_writer(ids_1T, tokens)
    bound = products(weights(models[OURS]), tokens)
    bars = (FASTEST, Bar(LITGPT, (LITGPT,), 1.3), Bar(X_TRANSFORMERS, (X_TRANSFORMERS,), 1.3))
    title = f"greedy decoding, one prompt, {tokens} tokens after {prompt}"
    return Found(title, tokens, compare({**runs, PRODUCTS: bound}, repeats, clock), bars, agreed)


def batch(prompt: int, tokens: int, repeats: int, clock: Clock) -> Found:
    """Eight prompts of unequal length."""
    ids_BT, mask_BT = unequal(8, 4 * prompt, VOCABULARY, left=True)
    runs = writers(llama(), ids_BT, mask_BT, tokens)
    title = f"greedy decoding, 8 prompts of {prompt} to {4 * prompt} tokens, {tokens} tokens after each"
    agreed = {"both write the same ids": same(runs, tokens)}
    return Found(title, 8 * tokens, compare(runs, repeats, clock), (FASTEST,), agreed)


def pairs(prompt: int, tokens: int, repeats: int, clock: Clock) -> Found:
    """Eight sources of unequal length."""
    ids_BT, mask_BT = unequal(8, 4 * prompt, 32000, left=False)
    runs = writers(shared(t5(0.0)), ids_BT, mask_BT, tokens)
    title = f"greedy decoding of T5's small shape, 8 sources of {prompt} to {4 * prompt} tokens, {tokens} tokens each"
    agreed = {"both write the same ids": same(runs, tokens)}
    return Found(title, 8 * tokens, compare(runs, repeats, clock), (FASTEST,), agreed)


def same(runs: dict[str, Write], tokens: int) -> bool:
    """Whether all write the same new ids."""
    first, *others = (write()[:, -tokens:] for write in runs.values())
    return all(torch.equal(first, other) for other in others)


CASES = {case.__name__: case for case in (one, batch, pairs)}


def main() -> int:
    """Print the figures; 1 if a bar is missed."""
    options = parser(__doc__, repeats=9)
    options.add_argument("--only", choices=list(CASES))
    options.add_argument("--prompt", type=int, default=16)
    options.add_argument("--tokens", type=int, default=128)
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    chosen = [CASES[asked.only]] if asked.only else list(CASES.values())
    found = [case(asked.prompt, asked.tokens, asked.repeats, asked.clock) for case in chosen]
    return tell(found, asked.json, lacking())


if __name__ == "__main__":
    sys.exit(main())
