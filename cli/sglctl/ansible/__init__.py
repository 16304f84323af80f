"""Ansible on live hosts: inventory from EC2, one class around ansible-runner."""
