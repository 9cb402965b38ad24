"""How the shapes pipelines are trained from nothing; `scripts/train_shapes.py` runs it."""
