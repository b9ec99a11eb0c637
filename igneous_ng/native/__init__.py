"""Kernels in C++: one source, one module, one stub each. Arrays in, arrays out, the interpreter's lock released."""
