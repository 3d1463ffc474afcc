"""Controllers: what to try next."""
