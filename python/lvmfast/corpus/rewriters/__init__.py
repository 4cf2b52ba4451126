"""What writes rows of files into other files of the same format, a function for each format."""
