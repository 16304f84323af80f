locals {
  # Weights and logs leave through S3 without paying NAT per byte; the gateway endpoint is free.
  gateway = local.new && !var.emulated

  # What hosts call at boot and while they run. Without NAT these are the only way to AWS.
  interface_services = local.gateway && var.network.nat == "none" ? toset([
    "autoscaling", "ec2", "ec2messages", "logs", "monitoring", "secretsmanager", "ssm", "ssmmessages",
  ]) : toset([])
}

resource "aws_vpc_endpoint" "s3" {
  count = local.gateway ? 1 : 0

  vpc_id            = aws_vpc.main[0].id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for table in aws_route_table.private : table.id]

  tags = { Name = "${local.name}-s3" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface_services

  vpc_id              = aws_vpc.main[0].id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.endpoints[0].id]

  tags = { Name = "${local.name}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  count = length(local.interface_services) > 0 ? 1 : 0

  name        = "${local.name}-endpoints"
  description = "HTTPS from the VPC to the AWS interface endpoints."
  vpc_id      = aws_vpc.main[0].id

  tags = { Name = "${local.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = length(aws_security_group.endpoints)

  security_group_id = aws_security_group.endpoints[0].id
  description       = "Hosts of the VPC"
  cidr_ipv4         = var.network.cidr
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}
