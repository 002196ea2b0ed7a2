"""kpodx: distil a large model's step-by-step reasoning into a small one, and prove that it survived."""

__version__ = "0.1.0"
