output "private_subnet_ids" {
  description = "Subnets of routers and workers, by zone."
  value       = local.new ? [for zone in sort(keys(aws_subnet.private)) : aws_subnet.private[zone].id] : var.network.existing.private_subnet_ids

  precondition {
    condition     = local.new || length(distinct([for id in try(var.network.existing.private_subnet_ids, []) : data.aws_subnet.existing[id].availability_zone])) >= 2
    error_message = "network.existing.private_subnet_ids all lie in one availability zone; routers need two."
  }
}

output "public_subnet_ids" {
  description = "Subnets of a public load balancer, by zone."
  value       = local.new ? [for zone in sort(keys(aws_subnet.public)) : aws_subnet.public[zone].id] : var.network.existing.public_subnet_ids

  precondition {
    condition     = local.new || length(distinct([for id in try(var.network.existing.public_subnet_ids, []) : data.aws_subnet.existing[id].availability_zone])) >= 2
    error_message = "network.existing.public_subnet_ids all lie in one availability zone; a load balancer needs two."
  }
}

output "vpc_id" {
  description = "VPC of everything."
  value       = local.new ? aws_vpc.main[0].id : var.network.existing.vpc_id
}
