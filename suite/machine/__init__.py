"""What measuring asks of the machine: its state, its memory, its terminal."""
