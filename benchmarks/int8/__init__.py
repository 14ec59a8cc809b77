"""8 bits with levels: speed, bytes and memory (`__main__`), accuracy, and rivals from other projects."""
