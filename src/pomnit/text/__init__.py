"""What is the same word, what language is this, where may a text be cut? Pure functions over strings."""
