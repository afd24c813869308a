"""What can be proved about a protocol before it runs."""
