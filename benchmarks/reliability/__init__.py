"""What happens when somebody means harm, the power goes, or everybody comes at once: counted."""
