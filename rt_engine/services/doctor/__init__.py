"""`spikeloop doctor`: looks at the computer and at every part of a rig, and says what it means."""
