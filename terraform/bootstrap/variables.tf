variable "account_id" {
  description = "Account; part of the bucket's name, and credentials of another are refused."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must have 12 digits."
  }
}

variable "bucket_exists" {
  description = "The bucket is there already (HeadBucket answers): take it over instead of making it."
  type        = bool
  default     = false
}

variable "emulated" {
  description = "The API is the local emulator: path-style S3, no check of credentials, no lifecycle rules."
  type        = bool
  default     = false
}

variable "region" {
  description = "Region of the bucket, and of the environments that keep their state in it."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's name such as us-east-1."
  }
}
