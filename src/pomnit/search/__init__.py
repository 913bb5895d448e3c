"""How is something found, and what says why? One file per step; ``recall.py`` puts them in order."""
