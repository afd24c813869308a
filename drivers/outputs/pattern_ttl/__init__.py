"""Light that another program's pattern divides among its targets, fired by TTL."""
