"""Text in and out of models: prompts, step splitting, completions, answers."""
