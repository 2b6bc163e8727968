"""The promise of decoders that are told of a prefix."""

from __future__ import annotations

from typing import Any

from blueprint.testing.tiny import LENGTH, TINY, Case


def a_prefix_is_seen_both_ways(case: Case) -> None:
    """What follows a prefix changes nothing in it, nor anything before itself; and step by step is as at once."""
    import torch

    from blueprint.model.decoder import DecoderModel
    from blueprint.testing.checks import close, tokens

    model, length, pad = case.model, LENGTH // 2, 3
    if not isinstance(model, DecoderModel) or not model.plan.site.causal:
        return
    ids = case.ids()
    prefix_B = torch.full((len(ids),), length)

    def ask(some: Any, **more: Any) -> Any:
        return tokens(model(some, prefix_length=prefix_B, **more))

    whole = ask(ids)
    for cut in (length, length + 2):
        other = ids.clone()
        other[:, cut:] = (other[:, cut:] + 1) % TINY["vocab_size"]
        close(ask(other)[:, :cut], whole[:, :cut], "what follows a prefix changes what lies before it")
    keep = torch.cat([torch.zeros(len(ids), pad), torch.ones(ids.shape)], 1)
    left = ask(torch.cat([torch.full((len(ids), pad), 7), ids], 1), attention_mask=keep)
    close(left[:, pad:], whole, "padding on the left changes a text with a prefix")
    end = model.steady(1) if model.incremental else 0
    if end is not None and end < LENGTH:
        return
    state = model.new_state(len(ids), LENGTH)
    parts = [ask(ids[:, :length], state=state)]
    parts += [ask(ids[:, at : at + 1], state=state) for at in range(length, LENGTH)]
    close(torch.cat(parts, 1), whole, "decoding after a prefix differs from the whole")
