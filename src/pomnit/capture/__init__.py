"""What the screen shows, as frames that are handed up by a callback."""
