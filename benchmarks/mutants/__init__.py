"""Whether the tests of a file notice when it is changed: cosmic-ray's changes, one at a time."""
