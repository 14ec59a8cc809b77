"""What a proof of equality needs: a tolerance, inputs that exercise the network, and outputs that say something."""
