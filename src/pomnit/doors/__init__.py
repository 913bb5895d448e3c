"""Ways in. A door parses, calls one method of Memory, and shows; it holds no logic."""
