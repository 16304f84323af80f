variable "account_id" {
  description = "Account; part of the ARNs the workers' policy names."
  type        = string
}

variable "environment" {
  description = "Environment name."
  type        = string
}

variable "fleet" {
  description = "One fleet as `sglctl config render --kind terraform` prints it; sizes in instances, times in seconds."
  type = object({
    model          = string
    image_id       = string
    instance_types = list(string)
    groups = object({
      on_demand = optional(object({ min = number, max = number, desired = number }))
      spot      = optional(object({ min = number, max = number, desired = number }))
    })
    warm_pool = optional(object({
      min               = optional(number, 0)
      max_prepared      = optional(number)
      state             = optional(string, "Stopped")
      reuse_on_scale_in = optional(bool, false)
    }))
    root_volume = object({
      size_gb         = number
      iops            = optional(number, 3000)
      throughput_mbps = optional(number, 125)
    })
    prefill_for      = optional(string)
    engine_port      = optional(number, 30000)
    agent_port       = optional(number, 30080)
    launch_timeout_s = optional(number, 1800)
    drain_deadline_s = optional(number, 600)
    document         = string
    tags             = optional(map(string), {})
  })

  validation {
    condition     = length(var.fleet.instance_types) > 0 && length(distinct(var.fleet.instance_types)) == length(var.fleet.instance_types)
    error_message = "fleet.instance_types must name one type at least, each once, most wanted first."
  }

  validation {
    condition     = startswith(var.fleet.image_id, "ami-")
    error_message = "fleet.image_id must be an image id (ami-…)."
  }

  validation {
    condition     = var.fleet.groups.on_demand != null || var.fleet.groups.spot != null
    error_message = "fleet.groups must have on_demand, spot or both."
  }

  validation {
    condition = alltrue([
      for group in [var.fleet.groups.on_demand, var.fleet.groups.spot] :
      try(0 <= group.min && group.min <= group.desired && group.desired <= group.max, group == null)
    ])
    error_message = "fleet.groups: 0 <= min <= desired <= max must hold in each group."
  }

  validation {
    condition     = var.fleet.warm_pool == null || var.fleet.groups.on_demand != null
    error_message = "fleet.warm_pool needs fleet.groups.on_demand: AWS has no warm pools of Spot instances."
  }

  validation {
    condition     = var.fleet.warm_pool == null || try(contains(["Stopped", "Running"], var.fleet.warm_pool.state), false)
    error_message = "fleet.warm_pool.state must be Stopped or Running (GPU instances do not hibernate)."
  }

  validation {
    condition     = try(var.fleet.warm_pool.min >= 0 && coalesce(var.fleet.warm_pool.max_prepared, 1000000) >= var.fleet.warm_pool.min, var.fleet.warm_pool == null)
    error_message = "fleet.warm_pool: 0 <= min <= max_prepared must hold (max_prepared counts the running workers too)."
  }

  validation {
    condition     = var.fleet.root_volume.size_gb >= 1 && var.fleet.root_volume.size_gb <= 16384
    error_message = "fleet.root_volume.size_gb must be 1 to 16384 (gp3)."
  }

  validation {
    condition     = var.fleet.root_volume.iops >= 3000 && var.fleet.root_volume.iops <= min(16000, max(3000, 500 * var.fleet.root_volume.size_gb))
    error_message = "fleet.root_volume.iops must be 3000 to 16000, and 500 per GB at most (gp3)."
  }

  validation {
    condition     = var.fleet.root_volume.throughput_mbps >= 125 && var.fleet.root_volume.throughput_mbps <= min(1000, var.fleet.root_volume.iops / 4)
    error_message = "fleet.root_volume.throughput_mbps must be 125 to 1000, and a quarter of the IOPS at most (gp3)."
  }

  validation {
    condition     = alltrue([for port in [var.fleet.engine_port, var.fleet.agent_port] : port >= 1024 && port <= 65535]) && var.fleet.engine_port != var.fleet.agent_port
    error_message = "fleet.engine_port and fleet.agent_port must differ and lie in 1024 to 65535 (both processes run without root)."
  }

  validation {
    condition     = var.fleet.launch_timeout_s >= 30 && var.fleet.launch_timeout_s <= 7200
    error_message = "fleet.launch_timeout_s must be 30 to 7200, the range of a lifecycle hook's heartbeat timeout."
  }

  validation {
    condition     = var.fleet.drain_deadline_s >= 30 && var.fleet.drain_deadline_s <= 12000
    error_message = "fleet.drain_deadline_s must be 30 to 12000: the terminate hook lasts 100 heartbeats of 120 s at most."
  }

  validation {
    condition     = length(var.fleet.document) <= 8192
    error_message = "fleet.document is longer than the 8192 characters a parameter holds."
  }

  validation {
    condition     = try(jsondecode(var.fleet.document).environment == var.environment && jsondecode(var.fleet.document).fleet == var.name, false)
    error_message = "fleet.document must be the FleetDocument (JSON) of this environment and fleet."
  }

  validation {
    condition     = try(jsondecode(var.fleet.document).engine_port == var.fleet.engine_port && jsondecode(var.fleet.document).agent_port == var.fleet.agent_port, false)
    error_message = "fleet.document and fleet.engine_port, fleet.agent_port must name the same ports, else the security group shuts the routers out."
  }

  validation {
    condition     = try(jsondecode(var.fleet.document).role == "prefill", false) == (var.fleet.prefill_for != null)
    error_message = "fleet.prefill_for names the decode fleet of a prefill fleet, and of no other: its document must have role prefill."
  }

  validation {
    condition     = alltrue([for key in keys(var.fleet.tags) : can(regex("^[A-Za-z0-9+=.,_:@-]+$", key)) && !startswith(key, "sglctl:") && !startswith(lower(key), "aws:")])
    error_message = "fleet.tags: keys may hold letters, digits and + - = . , _ : @ (they appear in instance metadata), and may not begin with sglctl: or aws:."
  }
}

variable "log_group_arn" {
  description = "Log group of the environment's workers (module observability)."
  type        = string
}

variable "model_bucket_arn" {
  description = "Bucket of the weights (module model_store)."
  type        = string
}

variable "name" {
  description = "Fleet name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.name)) && length(var.name) <= 16
    error_message = "A fleet's name must match ^[a-z][a-z0-9-]*$ and have 16 characters at most."
  }
}

variable "partition" {
  description = "Partition of the ARNs (aws, aws-cn, aws-us-gov)."
  type        = string
  default     = "aws"
}

variable "region" {
  description = "Region; part of the ARNs the workers' policy names."
  type        = string
}

variable "release" {
  description = "Release id the newest launch template is made for."
  type        = string
}

variable "router_security_group_id" {
  description = "The only source workers accept connections from (module router)."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets (module network)."
  type        = list(string)
}

variable "tags" {
  description = "Tags of the environment; groups and templates don't take the provider's default tags."
  type        = map(string)
  default     = {}
}

variable "vpc_id" {
  description = "VPC of the security group (module network)."
  type        = string
}
