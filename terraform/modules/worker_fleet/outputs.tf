output "groups" {
  description = "Names of the groups; null where the fleet has none."
  value = {
    on_demand = try(aws_autoscaling_group.workers["ondemand"].name, null)
    spot      = try(aws_autoscaling_group.workers["spot"].name, null)
  }
}
