"""Model folders: what is in them, whether they are whole, where they are kept."""
