"""Networks of StyleGAN2."""
