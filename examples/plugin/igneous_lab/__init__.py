"""What a laboratory adds to igneous_ng: a filter, and its own microscope."""
