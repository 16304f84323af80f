variable "decode_security_group_id" {
  description = "Security group of the decode workers (module worker_fleet)."
  type        = string
}

variable "prefill_security_group_id" {
  description = "Security group of the prefill workers (module worker_fleet)."
  type        = string

  validation {
    condition     = var.prefill_security_group_id != var.decode_security_group_id
    error_message = "prefill_security_group_id and decode_security_group_id must differ: the halves of a pair are two fleets."
  }
}
