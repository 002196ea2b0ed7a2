"""Weighted, progressive distillation (equations 14 and 15)."""
