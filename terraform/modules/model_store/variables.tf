variable "account_id" {
  description = "Account; part of the bucket's name, which is unique in the world."
  type        = string
}

variable "emulated" {
  description = "The API is the local emulator: the bucket goes with its content, and has no lifecycle rules."
  type        = bool
  default     = false
}

variable "environment" {
  description = "Environment name."
  type        = string
}

variable "partition" {
  description = "Partition of the ARNs (aws, aws-cn, aws-us-gov)."
  type        = string
  default     = "aws"
}

variable "region" {
  description = "Region; part of the bucket's name."
  type        = string

  validation {
    condition     = length("sglctl-models-${var.environment}-${var.account_id}-${var.region}") <= 63
    error_message = "The bucket name sglctl-models-<environment>-<account>-<region> is longer than the 63 characters S3 allows."
  }
}
