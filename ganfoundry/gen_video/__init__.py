"""Engine of `gen_video.py`: paths through latents, sweeps, time lapses, and the files that hold the frames."""
