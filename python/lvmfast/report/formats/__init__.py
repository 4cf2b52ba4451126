"""What was checked, in the formats that other tools read."""
