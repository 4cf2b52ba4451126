"""What a leak was worth: a saved scan joined with the scores of its items."""
