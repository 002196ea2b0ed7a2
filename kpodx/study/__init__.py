"""A study: variants of a recipe, trained over several seeds and compared question by question."""
