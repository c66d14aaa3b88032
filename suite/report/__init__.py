"""What is made of a run's records: tables for papers, figures, and the report that people look at."""
