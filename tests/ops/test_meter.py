"""Attention reports its own work."""

from __future__ import annotations

import threading

import torch
from torch.utils.flop_counter import FlopCounterMode

from blueprint.ops import Flow, Keys, KVState, Meter, attend
from blueprint.visible import Visible


def run(visible: Visible, device: str, length: int = 64) -> torch.Tensor:
    flow = Flow.of(2, length, device)
    q = torch.ones(2, 4, length, 8, device=device, requires_grad=True)
    k, v = torch.ones(2, 2, length, 8, device=device), torch.ones(2, 2, length, 6, device=device)
    return attend(q, Keys.of(k, v, flow), flow=flow, visible=visible, scale=1.0)


def test_work_is_the_visible_pairs():
    for device in ("cpu", "meta"):
        for visible in (Visible(), Visible(ahead=0), Visible(back=9, ahead=0), Visible(back=9, ahead=9)):
            with Meter() as meter:
                run(visible, device)
            assert meter.flops == 2 * (8 + 6) * 2 * 4 * visible.pairs(64)
            assert meter.calls == 1


def test_on_meta_the_counter_of_torch_counts_none_of_it():
    with Meter() as meter, FlopCounterMode(display=False) as counter:
        run(Visible(ahead=0), "meta").sum().backward()
    assert counter.get_total_flops() == 0
    assert meter.flops > 0


def test_decoding_counts_the_keys_it_sees():
    for visible, seen in ((Visible(ahead=0), 11), (Visible(back=3, ahead=0), 4)):
        state = KVState(1, 2, 20, 8, visible=visible, device="meta")
        for length, past in ((10, 0), (1, 10)):
            flow = Flow.of(1, length, "meta", seen=past)
            x = torch.empty(1, 2, length, 8, device="meta")
            keys = state.append(x, x, flow)
            with Meter() as meter:
                attend(x, keys, flow=flow, visible=visible, scale=1.0)
        assert meter.flops == 2 * 16 * 2 * seen


def test_meters_nest_and_belong_to_their_thread():
    with Meter() as outer:
        run(Visible(), "cpu")
        with Meter() as inner:
            run(Visible(), "cpu")
        thread = threading.Thread(target=run, args=(Visible(), "cpu"))
        thread.start()
        thread.join()
    assert outer.flops == 2 * inner.flops > 0
    run(Visible(), "cpu")
    assert outer.calls == 2
