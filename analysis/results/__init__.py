"""Results of runs beside the paper's: tables of means over seeds, and differences with their intervals."""
