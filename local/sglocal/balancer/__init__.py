"""The load balancer: HAProxy, configured from the emulator's listeners and target health."""
