"""Who may load a model, and when does it leave? The only owner of loaded engines."""
