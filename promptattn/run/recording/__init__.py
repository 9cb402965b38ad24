"""What a run records: asked for by layer and relation, counted beforehand, gathered into maps or onto disk."""
