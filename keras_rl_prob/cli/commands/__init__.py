"""What the program is told to do, a module each."""
