"""What is made of a run's records: tables for papers, figures, and the report that people look at."""

OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")
"""Whose hyperparameters a run tabulates where nobody says."""
