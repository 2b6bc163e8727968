"""How a sublayer's output joins the stream."""
