"""``tutelage toy``: the paper's toy example."""
