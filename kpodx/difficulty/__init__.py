"""Step difficulty (equation 8)."""
