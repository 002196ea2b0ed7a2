"""Phase `rationales`: what a teacher wrote for the training questions, read, filtered and numbered."""
