"""Pseudo-labels: a teacher's pass over frames, shared by any number of processes, and the use of its labels."""
