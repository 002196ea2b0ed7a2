"""A local service: packages behind an API that speaks as OpenAI's does, each model in a process of its own."""
