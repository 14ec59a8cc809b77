"""Quality of service for real: interference, quotas and memory limits against a running network."""
