"""What every folder may import: messages, config schemas, device protocols, errors, clock, array rules."""
