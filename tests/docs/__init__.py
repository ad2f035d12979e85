"""The commands of the pages: each is run as a user would, or it is said why not."""
