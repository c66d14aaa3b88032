"""What a hand-written training loop is made of: batches, autograd, losses; and the loop itself."""
