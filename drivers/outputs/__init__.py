"""Output drivers: each turns one authorised pulse into light."""
