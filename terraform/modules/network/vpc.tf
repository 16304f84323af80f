resource "aws_vpc" "main" {
  count = local.new ? 1 : 0

  cidr_block           = var.network.cidr
  enable_dns_hostnames = true # private DNS names of interface endpoints need both
  enable_dns_support   = true

  tags = { Name = local.name }
}

# Nothing uses the VPC's default group; without rules nothing can come to rely on it.
resource "aws_default_security_group" "closed" {
  count = local.new ? 1 : 0

  vpc_id = aws_vpc.main[0].id
  tags   = { Name = "${local.name}-default-unused" }
}

resource "aws_internet_gateway" "main" {
  count = local.new ? 1 : 0

  vpc_id = aws_vpc.main[0].id
  tags   = { Name = local.name }
}
