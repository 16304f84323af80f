# An existing network is only read; a subnet of another VPC is caught here and not half-way through an apply.
data "aws_subnet" "existing" {
  for_each = local.new ? toset([]) : toset(concat(var.network.existing.public_subnet_ids, var.network.existing.private_subnet_ids))

  id = each.key

  lifecycle {
    postcondition {
      condition     = self.vpc_id == var.network.existing.vpc_id
      error_message = "Subnet ${each.key} lies in ${self.vpc_id}, not in network.existing.vpc_id = ${var.network.existing.vpc_id}."
    }
  }
}
