"""Hosts: what an EC2 instance is on this machine. One interface, two drivers."""
