"""A scan: what it is carried out with, what is planned, and who does it."""
