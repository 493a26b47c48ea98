"""A case of one patient: its slides, people's decisions, and the report to sign."""
