"""What a prompt is to a pipeline: ids and embeddings for each moment, and which of their rows holds which word."""
