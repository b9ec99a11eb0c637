"""Which tiles of a section are used, and what is wrong with the others: the manifest and the files' findings joined."""
