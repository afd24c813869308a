"""From trials to effects: estimates, intervals that may be looked at any time, exact tests, maps."""
