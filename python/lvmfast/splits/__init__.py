"""ACT: what is done about a leak once it is found, and splits that have none to begin with."""
