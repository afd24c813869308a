"""ScanImage: our user function there sends every frame over TCP, this side listens."""
