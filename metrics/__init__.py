"""Floor 2: metrics by name over streams of uint8 images; knows nothing of training."""
