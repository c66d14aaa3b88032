"""What a hand-written training loop is made of: batches, autograd, losses, accumulation."""
