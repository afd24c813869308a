"""ThorImage: the raw file that it is writing is followed."""
