"""Training: its history, monitor and triage."""
