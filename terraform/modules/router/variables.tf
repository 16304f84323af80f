variable "account_id" {
  description = "Account; part of the ARNs the routers' policy names."
  type        = string
}

variable "emulated" {
  description = "The API is the local emulator: one router is enough, HTTP is allowed, the secret goes at once."
  type        = bool
  default     = false
}

variable "environment" {
  description = "Environment name."
  type        = string

  validation {
    condition     = length("sgl-${var.environment}-router") <= 32
    error_message = "sgl-<environment>-router is longer than the 32 characters of a load balancer's name."
  }
}

variable "log_group_arn" {
  description = "Log group of the routers (module observability)."
  type        = string
}

variable "partition" {
  description = "Partition of the ARNs (aws, aws-cn, aws-us-gov)."
  type        = string
  default     = "aws"
}

variable "private_subnet_ids" {
  description = "Subnets of the routers, and of an internal load balancer (module network)."
  type        = list(string)
}

variable "public_subnet_ids" {
  description = "Subnets of a public load balancer (module network)."
  type        = list(string)
}

variable "region" {
  description = "Region; part of the ARNs the routers' policy names."
  type        = string
}

variable "release" {
  description = "Release id the newest launch template is made for."
  type        = string
}

variable "router" {
  description = "The routers and their load balancer; `tls` names a certificate or the domain of one, null is plain HTTP."
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

  validation {
    condition     = startswith(var.router.image_id, "ami-")
    error_message = "router.image_id must be an image id (ami-…)."
  }

  validation {
    condition     = var.router.count >= (var.emulated ? 1 : 2) && var.router.count <= 20
    error_message = "router.count must be 2 to 20, so that a zone may fail (1 is enough in the emulator)."
  }

  validation {
    condition     = alltrue([for port in [var.router.port, var.router.admin_port] : port >= 1024 && port <= 65535]) && var.router.port != var.router.admin_port
    error_message = "router.port and router.admin_port must differ and lie in 1024 to 65535 (the router runs without root)."
  }

  validation {
    condition     = var.router.listener_port >= 1 && var.router.listener_port <= 65535
    error_message = "router.listener_port must be 1 to 65535."
  }

  validation {
    condition     = var.router.tls != null || var.emulated || var.environment == "local"
    error_message = "router.tls is missing: only the environment `local` may serve plain HTTP. Give tls.certificate_arn or tls.domain."
  }

  validation {
    condition     = var.router.tls == null || try((var.router.tls.certificate_arn == null) != (var.router.tls.domain == null), false)
    error_message = "router.tls must have either certificate_arn or domain."
  }

  validation {
    condition     = length(var.router.allowed_cidrs) > 0 && alltrue([for cidr in concat(var.router.allowed_cidrs, var.router.admin_cidrs) : can(cidrnetmask(cidr))])
    error_message = "router.allowed_cidrs (one at least) and router.admin_cidrs must be IPv4 ranges such as 10.0.0.0/8."
  }

  validation {
    condition     = alltrue([for cidr in var.router.admin_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, false)])
    error_message = "router.admin_cidrs: the admin port is never opened to the internet; a range of /8 is the widest."
  }

  validation {
    condition     = var.router.idle_timeout_s >= 1 && var.router.idle_timeout_s <= 4000
    error_message = "router.idle_timeout_s must be 1 to 4000 (application load balancer)."
  }

  validation {
    condition     = var.router.deregistration_delay_s >= 0 && var.router.deregistration_delay_s <= 3600
    error_message = "router.deregistration_delay_s must be 0 to 3600 (target group)."
  }

  validation {
    condition     = var.router.root_volume_gb >= 8 && var.router.root_volume_gb <= 16384
    error_message = "router.root_volume_gb must be 8 to 16384."
  }

  validation {
    condition     = alltrue([for name in var.router.externals : can(regex("^[a-z][a-z0-9-]{0,31}$", name))]) && join(",", sort(var.router.externals)) == join(",", keys(try(jsondecode(var.router.document).externals, {})))
    error_message = "router.externals must name the externals of router.document: each has a secret that holds its key."
  }

  validation {
    condition     = length(var.router.document) <= 8192
    error_message = "router.document is longer than the 8192 characters a parameter holds."
  }

  validation {
    condition     = try(jsondecode(var.router.document).environment == var.environment, false)
    error_message = "router.document must be the RouterDocument (JSON) of this environment."
  }

  validation {
    condition     = try(jsondecode(var.router.document).listen.port == var.router.port && jsondecode(var.router.document).listen.admin_port == var.router.admin_port, false)
    error_message = "router.document and router.port, router.admin_port must name the same ports, else the load balancer finds nobody."
  }

  validation {
    condition     = var.environment == "local" || try(jsondecode(var.router.document).keys.secret == "sglctl/${var.environment}/api-keys", false)
    error_message = "router.document must name the API keys' secret (keys.secret = sglctl/<environment>/api-keys): only `local` may serve without keys."
  }
}

variable "tags" {
  description = "Tags of the environment; groups and templates don't take the provider's default tags."
  type        = map(string)
  default     = {}
}

variable "vpc_id" {
  description = "VPC of the security groups and the target group (module network)."
  type        = string
}
