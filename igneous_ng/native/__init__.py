"""Kernels in C++: one source, one module and one stub each. They take and give arrays and release the interpreter's lock."""
