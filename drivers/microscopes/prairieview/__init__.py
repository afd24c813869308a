"""Prairie View: script commands over TCP, and samples that it writes into our memory."""
