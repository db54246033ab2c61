"""Rules for device nodes, and what the kernels make of them."""
