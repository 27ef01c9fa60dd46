"""The command line and the start of processes. No other package imports this one."""
