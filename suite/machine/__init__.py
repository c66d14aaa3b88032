"""What results depend on besides the code: the machine, its memory, and the global state of the process."""
