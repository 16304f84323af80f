# What `sglctl config render --kind terraform` prints; docs/reference/interfaces.md has an example.

variable "account_id" {
  description = "Account this environment lives in; another account's credentials are refused. Null: any."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must have 12 digits, or be null."
  }
}

variable "emulated" {
  description = "The API is the local emulator: path-style S3, no check of credentials."
  type        = bool
  default     = false
}

variable "environment" {
  description = "Environment name; part of every name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment)) && length(var.environment) <= 10
    error_message = "environment must match ^[a-z][a-z0-9-]*$ and have 10 characters at most."
  }
}

variable "fleets" {
  description = "Fleets by name: what module worker_fleet says of each field."
  type = map(object({
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
  }))

  validation {
    condition     = length(var.fleets) > 0
    error_message = "fleets must name one fleet at least."
  }

  validation {
    condition     = alltrue([for name, fleet in var.fleets : fleet.prefill_for == null || (contains(keys(var.fleets), coalesce(fleet.prefill_for, name)) && fleet.prefill_for != name)])
    error_message = "fleets: prefill_for must name another of them."
  }

  # The groups of a fleet `a` are sgl-<env>-a-ondemand and -spot; a fleet `a-spot` would be confused with them by eye.
  validation {
    condition     = alltrue([for name in keys(var.fleets) : !endswith(name, "-spot") && !endswith(name, "-ondemand") && name != "router"])
    error_message = "A fleet may not be called router, nor end in -spot or -ondemand: group names end so."
  }
}

variable "network" {
  description = "A new VPC, or an existing one: what module network says of each field."
  type = object({
    cidr               = optional(string, "10.40.0.0/16")
    availability_zones = optional(number, 2)
    nat                = optional(string, "single")
    existing = optional(object({
      vpc_id             = string
      public_subnet_ids  = list(string)
      private_subnet_ids = list(string)
    }))
  })
  default = {}
}

variable "observability" {
  description = "Logs and alarms: what module observability says of each field."
  type = object({
    log_retention_days = optional(number, 30)
    alarm_topic_arn    = optional(string)
    queue_depth        = optional(number, 10)
  })
  default = {}
}

variable "region" {
  description = "Region of everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's name such as us-east-1."
  }
}

variable "release" {
  description = "Release id, in the user data and tags of what is started from the newest templates."
  type        = string

  # It stands in a YAML string and in tag values.
  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", var.release))
    error_message = "release may hold letters, digits, dots, dashes and underscores (64 at most)."
  }
}

variable "router" {
  description = "Routers and load balancer: what module router says of each field."
  type = object({
    image_id      = string
    instance_type = string
    count         = optional(number, 2)
    port          = optional(number, 8000)
    admin_port    = optional(number, 8001)
    listener_port = optional(number, 443)
    tls = optional(object({
      certificate_arn = optional(string)
      domain          = optional(string)
    }))
    internal               = optional(bool, false)
    allowed_cidrs          = optional(list(string), ["0.0.0.0/0"])
    admin_cidrs            = optional(list(string), [])
    idle_timeout_s         = optional(number, 600)
    deregistration_delay_s = optional(number, 120)
    root_volume_gb         = optional(number, 20)
    externals              = optional(list(string), [])
    document               = string
  })
}

variable "tags" {
  description = "Tags of everything, beside the project's own."
  type        = map(string)
  default     = {}

  # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
  validation {
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[A-Za-z0-9+=.,_:@-]+$", key)) && !startswith(key, "sglctl:") && !startswith(lower(key), "aws:") && key != "Name"])
    error_message = "tags: keys may hold letters, digits and + - = . , _ : @ (they appear in instance metadata), may not begin with sglctl: or aws:, and may not be Name."
  }
}
