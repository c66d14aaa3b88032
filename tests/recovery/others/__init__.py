"""Loops of other people, a few lines each, by the kind of thing that `recover` has to say of them."""
