"""No position at all."""

from blueprint.component import Site
from blueprint.registry import member


def test_it_offers_no_hook() -> None:
    made = member("position", "none")().build(Site(d_model=8, width=8))
    assert not hasattr(made, "rotate")
    assert not hasattr(made, "bias")
