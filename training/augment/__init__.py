"""Augmentation of D's inputs: ADA, DiffAugment and APA."""
