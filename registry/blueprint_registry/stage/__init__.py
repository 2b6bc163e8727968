"""What is done to documents before samples are cut from them."""
