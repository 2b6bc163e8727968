"""What keeps experts evenly used."""
