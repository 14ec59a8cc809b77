"""Why two claims of the training papers were missed: longer trainings, two kinds of network, the gap taken apart."""
