"""Which steps of each rationale the student is given, stage by stage (equations 9-13)."""
