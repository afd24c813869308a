"""What the window shows, one page a file; each reads the model at its own pace, and rests while hidden."""
