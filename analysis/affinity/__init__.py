"""``tutelage affinity``: which task's labels help which other task."""
