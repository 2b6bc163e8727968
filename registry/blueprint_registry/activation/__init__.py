"""Elementwise nonlinearities of feed-forward layers."""

from blueprint.component import Component


class Activation(Component, kind="activation"):
    """A function of each number alone. Module: `(x) -> x`, any shape."""
