"""A generated shop of nine services, what is planted in it, and how much of that is found."""
