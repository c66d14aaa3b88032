"""Other batch sizes: rules for them, the gradient noise scale, and how a rule comes out."""
