"""Students and other models: loading, tokenisation, batches, log-probabilities, generation."""
