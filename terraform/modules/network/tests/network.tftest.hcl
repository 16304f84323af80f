mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1c", "us-east-1a", "us-east-1b"] }
  }
  mock_data "aws_subnet" {
    defaults = { availability_zone = "us-east-1b", vpc_id = "vpc-00000000000000009" }
  }
}

variables {
  environment = "prod"
  region      = "us-east-1"
  network     = { cidr = "10.40.0.0/16", availability_zones = 2, nat = "single" }
}

run "a_new_network_has_a_public_and_a_private_subnet_per_zone" {
  command = apply

  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { us-east-1a = "10.40.0.0/19", us-east-1b = "10.40.32.0/19" }
    error_message = "Private subnets: an eighth of the range each, by zone name."
  }

  assert {
    condition     = { for zone, subnet in aws_subnet.public : zone => subnet.cidr_block } == { us-east-1a = "10.40.192.0/22", us-east-1b = "10.40.196.0/22" }
    error_message = "Public subnets lie in the last quarter."
  }

  assert {
    condition     = !anytrue([for subnet in merge(aws_subnet.public, { for zone, subnet in aws_subnet.private : "private-${zone}" => subnet }) : subnet.map_public_ip_on_launch])
    error_message = "No host gets a public address."
  }

  assert {
    condition     = length(output.private_subnet_ids) == 2 && length(output.public_subnet_ids) == 2
    error_message = "The subnets are handed on."
  }

  assert {
    condition     = length(aws_default_security_group.closed[0].ingress) == 0 && length(aws_default_security_group.closed[0].egress) == 0
    error_message = "The default security group allows nothing."
  }
}

run "another_zone_moves_no_subnet" {
  command = apply
  variables { network = merge(var.network, { availability_zones = 3 }) }

  assert {
    condition     = aws_subnet.private["us-east-1a"].cidr_block == "10.40.0.0/19" && aws_subnet.public["us-east-1b"].cidr_block == "10.40.196.0/22" && length(aws_subnet.private) == 3
    error_message = "The address plan does not depend on the number of zones."
  }
}

run "a_single_nat_gateway_serves_all_zones" {
  command = apply

  assert {
    condition     = keys(aws_nat_gateway.zone) == ["us-east-1a"] && length(aws_route.nat) == 2 && alltrue([for route in aws_route.nat : route.nat_gateway_id == aws_nat_gateway.zone["us-east-1a"].id])
    error_message = "One gateway, a route to it from each zone."
  }

  assert {
    condition     = length(aws_vpc_endpoint.s3) == 1 && aws_vpc_endpoint.s3[0].vpc_endpoint_type == "Gateway" && length(aws_vpc_endpoint.interface) == 0
    error_message = "S3 does not go through NAT; nothing else has an endpoint."
  }
}

run "a_nat_gateway_per_zone_serves_its_own_zone" {
  command = apply
  variables { network = merge(var.network, { nat = "per_zone" }) }

  assert {
    condition     = length(aws_nat_gateway.zone) == 2 && alltrue([for zone, route in aws_route.nat : route.nat_gateway_id == aws_nat_gateway.zone[zone].id])
    error_message = "Each zone goes out on its own."
  }
}

run "without_nat_aws_is_reached_through_endpoints" {
  command = apply
  variables { network = merge(var.network, { nat = "none" }) }

  assert {
    condition     = length(aws_nat_gateway.zone) == 0 && length(aws_route.nat) == 0
    error_message = "No gateway, no route out."
  }

  assert {
    condition     = alltrue([for service in ["autoscaling", "ec2", "logs", "monitoring", "secretsmanager", "ssm", "ssmmessages"] : contains(keys(aws_vpc_endpoint.interface), service)]) && alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled])
    error_message = "What hosts call has an endpoint under its usual name."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints[0].cidr_ipv4 == "10.40.0.0/16" && aws_vpc_security_group_ingress_rule.endpoints[0].from_port == 443
    error_message = "Endpoints answer HTTPS from the VPC only."
  }
}

run "the_emulator_has_no_endpoints" {
  command = apply
  variables {
    emulated = true
    network  = merge(var.network, { nat = "none" })
  }

  assert {
    condition     = length(aws_vpc_endpoint.s3) == 0 && length(aws_vpc_endpoint.interface) == 0 && length(aws_security_group.endpoints) == 0
    error_message = "Nothing that only makes sense on AWS."
  }
}

run "an_existing_network_is_only_read" {
  command = plan
  variables {
    network = { existing = { vpc_id = "vpc-00000000000000009", public_subnet_ids = ["subnet-1", "subnet-2"], private_subnet_ids = ["subnet-3", "subnet-4"] } }
  }

  # The other subnet of each pair lies in us-east-1b.
  override_data {
    target = data.aws_subnet.existing["subnet-1"]
    values = { availability_zone = "us-east-1a", vpc_id = "vpc-00000000000000009" }
  }
  override_data {
    target = data.aws_subnet.existing["subnet-3"]
    values = { availability_zone = "us-east-1a", vpc_id = "vpc-00000000000000009" }
  }

  assert {
    condition     = length(aws_vpc.main) == 0 && length(aws_subnet.private) == 0 && length(aws_nat_gateway.zone) == 0 && length(aws_route_table.public) == 0
    error_message = "Nothing is made in an existing network."
  }

  assert {
    condition     = output.vpc_id == "vpc-00000000000000009" && output.private_subnet_ids == tolist(["subnet-3", "subnet-4"]) && output.public_subnet_ids == tolist(["subnet-1", "subnet-2"])
    error_message = "It is handed on as it was given."
  }
}
