"""What the benchmarks of whole generations share: random-weight models, interleaved timing, peak memory."""
