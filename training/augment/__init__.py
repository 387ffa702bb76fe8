"""Augmentations between the generator, or the data set, and the discriminator: ADA's pipe and DiffAugment."""
