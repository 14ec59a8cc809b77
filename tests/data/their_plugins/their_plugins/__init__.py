"""An exporter and an adapter of a third party: multilayer perceptrons, computed by numpy."""
