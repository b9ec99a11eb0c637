"""How microscopes and programs describe their tiles: an adapter each."""
