"""Terraform, driven: commands built by python-terraform, run and understood here."""
