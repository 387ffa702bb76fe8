"""Export of trained generators: ONNX, safetensors, and the layout of the Hugging Face hub."""
