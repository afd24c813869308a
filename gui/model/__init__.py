"""What the window knows, as plain objects: messages in, numbers out, no Qt."""
