"""Accuracy of a student."""
