"""The algebra of gradients: units, Gram matrix, discrepancies, and scales as formulas."""
