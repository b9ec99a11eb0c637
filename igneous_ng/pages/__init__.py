"""What was found in tiles, for people: HTML pages that need nothing else, one a section and one of all."""
