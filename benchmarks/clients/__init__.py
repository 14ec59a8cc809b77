"""What the clients of applications are held to, and what their tests measured."""
