"""Text that has been read becomes a `Spec`: shapes, sections, validation with positions, JSON Schema."""
