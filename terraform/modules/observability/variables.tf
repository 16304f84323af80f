variable "environment" {
  description = "Environment name."
  type        = string
}

variable "fleets" {
  description = "Fleet name -> fewest workers it may have; a fleet that may be empty raises no alarm when it is."
  type        = map(object({ min = number }))
}

variable "load_balancer" {
  description = "ARN suffixes of load balancer and target group (module router)."
  type = object({
    load_balancer = string
    target_group  = string
  })
}

variable "observability" {
  description = "How long logs stay, who is told of alarms, and how many queued requests are too many."
  type = object({
    log_retention_days = optional(number, 30)
    alarm_topic_arn    = optional(string)
    queue_depth        = optional(number, 10)
  })
  default = {}

  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.observability.log_retention_days)
    error_message = "observability.log_retention_days must be one of CloudWatch's: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }

  validation {
    condition     = try(startswith(var.observability.alarm_topic_arn, "arn:"), var.observability.alarm_topic_arn == null)
    error_message = "observability.alarm_topic_arn must be the ARN of an SNS topic, or null."
  }

  validation {
    condition     = var.observability.queue_depth >= 1
    error_message = "observability.queue_depth must be 1 at least."
  }
}

variable "region" {
  description = "Region the dashboard reads from."
  type        = string
}
