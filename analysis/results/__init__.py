"""Results of runs beside the paper's: rows, means over seeds, and differences with their intervals."""
