"""What a protocol file may say: frozen pydantic models, unknown keys refused, a unit in every key; one idea a file."""
