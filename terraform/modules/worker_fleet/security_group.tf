resource "aws_security_group" "workers" {
  name        = "${local.prefix}-worker"
  description = "Workers of fleet ${var.name}: engine and agent, from the routers only."
  vpc_id      = var.vpc_id

  tags = { Name = "${local.prefix}-worker" }
}

resource "aws_vpc_security_group_ingress_rule" "routers" {
  for_each = {
    agent  = var.fleet.agent_port
    engine = var.fleet.engine_port
  }

  security_group_id            = aws_security_group.workers.id
  referenced_security_group_id = var.router_security_group_id
  from_port                    = each.value
  to_port                      = each.value
  ip_protocol                  = "tcp"

  tags = { Name = "routers-to-${each.key}" }
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.workers.id
  description       = "AWS, weights and packages"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}
