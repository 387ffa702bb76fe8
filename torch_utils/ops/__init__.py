"""Operations: a reference in plain PyTorch, and fast forms in C++ and CUDA."""
