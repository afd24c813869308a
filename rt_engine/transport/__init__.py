"""ZeroMQ sockets, sequence numbers and loss accounting."""
