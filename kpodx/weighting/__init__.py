"""Token weighting by mask learning (equations 2 to 7)."""
