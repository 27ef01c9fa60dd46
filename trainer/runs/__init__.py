"""The folder of a run: its claim, its status, its records, and its checkpoints."""
