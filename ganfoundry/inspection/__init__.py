"""Looking inside networks: one module per kind of picture, each made with the equations of the paper that it serves."""
