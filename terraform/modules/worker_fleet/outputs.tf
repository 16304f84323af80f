output "groups" {
  description = "Names of the groups; null where the fleet has none."
  value = {
    on_demand = try(aws_autoscaling_group.workers["ondemand"].name, null)
    spot      = try(aws_autoscaling_group.workers["spot"].name, null)
  }
}

output "security_group_id" {
  description = "Security group of the workers."
  value       = aws_security_group.workers.id
}
