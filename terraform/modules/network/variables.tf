variable "emulated" {
  description = "The API is the local emulator: what only makes sense on AWS (endpoints) is left out."
  type        = bool
  default     = false
}

variable "environment" {
  description = "Environment name."
  type        = string
}

variable "network" {
  description = "A new VPC of `availability_zones` zones, or the `existing` one; `nat` is how private subnets reach the internet."
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

  validation {
    condition     = can(cidrnetmask(var.network.cidr)) && try(tonumber(split("/", var.network.cidr)[1]) >= 16 && tonumber(split("/", var.network.cidr)[1]) <= 22, false)
    error_message = "network.cidr must be an IPv4 range of /16 to /22 (AWS allows /16 at most; the public subnets take 1/64 each and AWS wants /28 at least)."
  }

  validation {
    condition     = contains([2, 3, 4, 5, 6], var.network.availability_zones)
    error_message = "network.availability_zones must be 2 to 6: a load balancer needs two zones."
  }

  validation {
    condition     = contains(["single", "per_zone", "none"], var.network.nat)
    error_message = "network.nat must be single, per_zone or none."
  }

  validation {
    condition     = var.network.existing == null || try(length(distinct(var.network.existing.public_subnet_ids)) >= 2, false)
    error_message = "network.existing.public_subnet_ids must name two different subnets at least: a load balancer needs two zones."
  }

  validation {
    condition     = var.network.existing == null || try(length(distinct(var.network.existing.private_subnet_ids)) >= 2, false)
    error_message = "network.existing.private_subnet_ids must name two different subnets at least: routers are spread over zones."
  }
}

variable "region" {
  description = "Region; names the services of the endpoints."
  type        = string
}
