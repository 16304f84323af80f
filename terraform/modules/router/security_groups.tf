resource "aws_security_group" "load_balancer" {
  name        = "${local.name}-alb"
  description = "Clients to the load balancer of environment ${var.environment}."
  vpc_id      = var.vpc_id

  tags = { Name = "${local.name}-alb" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = toset(var.router.allowed_cidrs)

  security_group_id = aws_security_group.load_balancer.id
  description       = "Clients"
  cidr_ipv4         = each.key
  from_port         = var.router.listener_port
  to_port           = var.router.listener_port
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "to_routers" {
  security_group_id            = aws_security_group.load_balancer.id
  referenced_security_group_id = aws_security_group.routers.id
  from_port                    = var.router.port
  to_port                      = var.router.port
  ip_protocol                  = "tcp"

  tags = { Name = "to-routers" }
}

resource "aws_security_group" "routers" {
  name        = local.name
  description = "Routers: data from the load balancer, admin from operators."
  vpc_id      = var.vpc_id

  tags = { Name = local.name }
}

# The data port only: the load balancer never reaches the admin port.
resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  security_group_id            = aws_security_group.routers.id
  referenced_security_group_id = aws_security_group.load_balancer.id
  from_port                    = var.router.port
  to_port                      = var.router.port
  ip_protocol                  = "tcp"

  tags = { Name = "load-balancer-to-routers" }
}

# A request goes to the router that owns its conversation, whichever router got it.
resource "aws_vpc_security_group_ingress_rule" "peers" {
  security_group_id            = aws_security_group.routers.id
  referenced_security_group_id = aws_security_group.routers.id
  description                  = "Other routers"
  from_port                    = var.router.port
  to_port                      = var.router.port
  ip_protocol                  = "tcp"

  tags = { Name = "routers-to-routers" }
}

resource "aws_vpc_security_group_ingress_rule" "admin" {
  for_each = toset(var.router.admin_cidrs)

  security_group_id = aws_security_group.routers.id
  description       = "Operators"
  cidr_ipv4         = each.key
  from_port         = var.router.admin_port
  to_port           = var.router.admin_port
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.routers.id
  description       = "Workers and AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}
