"""The folder of a run: whose it is, how it stands, what it records, and what it continues from."""
