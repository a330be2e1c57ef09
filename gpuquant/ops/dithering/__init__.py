"""Error diffusion, mixtures and masks."""
