"""Export: a student becomes packages that run without torch, each checked against the student."""
