"""Papers: one card each, what its gradient is and how that is known."""
