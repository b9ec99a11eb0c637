"""How well sections lie in an aligned volume, from the files of the alignment and from the sections."""
