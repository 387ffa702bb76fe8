"""Sending the records of a run to W&B, MLflow, trackio, TensorBoard, or any class."""
