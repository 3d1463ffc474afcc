"""Training and timing a network; knows nothing of search."""
