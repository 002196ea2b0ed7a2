"""Where the questions come from: published sets, files of one's own, the hub, or a generator."""
