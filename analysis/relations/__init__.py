"""``tutelage relate``: which task's labels help which other task."""
