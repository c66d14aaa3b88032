"""Figures for papers: one module a kind, each with a `draw(figure, …)` that knows no files."""
