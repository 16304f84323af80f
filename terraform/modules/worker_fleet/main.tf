locals {
  prefix = "sgl-${var.environment}-${var.name}"

  # Group suffix -> capacity and how it is bought. A group that is null is absent.
  capacities = {
    ondemand = var.fleet.groups.on_demand
    spot     = var.fleet.groups.spot
  }
  groups = { for suffix, capacity in local.capacities : suffix => capacity if capacity != null }
  names  = { for suffix, _ in local.capacities : suffix => "${local.prefix}-${suffix}" }

  # The same on every version of the template, so the group may set them too.
  lasting_tags = merge(var.tags, var.fleet.tags, {
    "sglctl:environment" = var.environment
    "sglctl:fleet"       = var.name
    "sglctl:role"        = "worker"
    },
    # Routers know a pair by its decode fleet.
    var.fleet.prefill_for == null ? {} : { "sglctl:pair" = var.fleet.prefill_for }
  )

  # Agents heartbeat while they drain; the first silence of this length ends the wait.
  terminate_heartbeat_s = min(120, var.fleet.drain_deadline_s)

  hooks = {
    launch = {
      transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
      timeout_s  = var.fleet.launch_timeout_s
      default    = "ABANDON" # a worker that never answered is replaced, not served from
    }
    terminate = {
      transition = "autoscaling:EC2_INSTANCE_TERMINATING"
      timeout_s  = local.terminate_heartbeat_s
      default    = "CONTINUE" # a dead agent must not keep an instance alive
    }
  }
}
