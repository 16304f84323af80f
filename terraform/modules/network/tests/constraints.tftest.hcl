mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b"] }
  }
  mock_data "aws_subnet" {
    defaults = { availability_zone = "us-east-1a", vpc_id = "vpc-00000000000000009" }
  }
}

variables {
  environment = "prod"
  region      = "us-east-1"
  network     = { cidr = "10.40.0.0/16", availability_zones = 2, nat = "single" }
}

run "refuses_a_range_that_is_none" {
  command = plan
  variables { network = merge(var.network, { cidr = "10.40.0.0" }) }

  expect_failures = [var.network]
}

run "refuses_a_range_larger_than_aws_allows" {
  command = plan
  variables { network = merge(var.network, { cidr = "10.0.0.0/8" }) }

  expect_failures = [var.network]
}

run "refuses_a_range_too_small_for_the_plan" {
  command = plan
  variables { network = merge(var.network, { cidr = "10.40.0.0/24" }) }

  expect_failures = [var.network]
}

run "refuses_a_single_zone" {
  command = plan
  variables { network = merge(var.network, { availability_zones = 1 }) }

  expect_failures = [var.network]
}

run "refuses_an_unknown_nat" {
  command = plan
  variables { network = merge(var.network, { nat = "sometimes" }) }

  expect_failures = [var.network]
}

run "refuses_more_zones_than_the_region_has" {
  command = plan
  variables { network = merge(var.network, { availability_zones = 3 }) }

  expect_failures = [data.aws_availability_zones.usable]
}

run "refuses_one_existing_public_subnet" {
  command = plan
  variables {
    network = { existing = { vpc_id = "vpc-00000000000000009", public_subnet_ids = ["subnet-1"], private_subnet_ids = ["subnet-3", "subnet-4"] } }
  }

  expect_failures = [var.network]
}

run "refuses_the_same_existing_private_subnet_twice" {
  command = plan
  variables {
    network = { existing = { vpc_id = "vpc-00000000000000009", public_subnet_ids = ["subnet-1", "subnet-2"], private_subnet_ids = ["subnet-3", "subnet-3"] } }
  }

  expect_failures = [var.network]
}

run "refuses_subnets_of_another_vpc" {
  command = plan
  variables {
    network = { existing = { vpc_id = "vpc-00000000000000001", public_subnet_ids = ["subnet-1", "subnet-2"], private_subnet_ids = ["subnet-3", "subnet-4"] } }
  }

  expect_failures = [data.aws_subnet.existing]
}

run "refuses_existing_subnets_of_one_zone" {
  command = plan
  variables {
    network = { existing = { vpc_id = "vpc-00000000000000009", public_subnet_ids = ["subnet-1", "subnet-2"], private_subnet_ids = ["subnet-3", "subnet-4"] } }
  }

  expect_failures = [output.private_subnet_ids, output.public_subnet_ids]
}
