"""The commands, and how processes start. Nothing imports this package."""
