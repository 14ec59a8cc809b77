"""8 bits: what a float network's numbers become, and exactly what is computed with them. Pure numpy."""
