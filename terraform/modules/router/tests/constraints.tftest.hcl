mock_provider "aws" {
  mock_data "aws_ami" {
    defaults = { root_device_name = "/dev/xvda", root_device_type = "ebs" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

mock_provider "aws" {
  alias = "instance_store_image"

  mock_data "aws_ami" {
    defaults = { root_device_name = "/dev/sda1", root_device_type = "instance-store" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  account_id         = "111122223333"
  environment        = "prod"
  log_group_arn      = "arn:aws:logs:us-east-1:111122223333:log-group:/sglctl/prod/router"
  private_subnet_ids = ["subnet-00000000000000001", "subnet-00000000000000002"]
  public_subnet_ids  = ["subnet-00000000000000003", "subnet-00000000000000004"]
  region             = "us-east-1"
  release            = "2026.11.1"
  vpc_id             = "vpc-00000000000000001"

  router = {
    image_id      = "ami-00000000000000001"
    instance_type = "c7i.large"
    tls           = { domain = "llm.example.com" }
    document      = "{\"environment\": \"prod\", \"listen\": {\"port\": 8000, \"admin_port\": 8001}, \"keys\": {\"secret\": \"sglctl/prod/api-keys\"}}"
  }
}

run "refuses_an_image_that_is_no_image_id" {
  command = plan
  variables { router = merge(var.router, { image_id = "debian-12" }) }

  expect_failures = [var.router]
}

run "refuses_a_single_router" {
  command = plan
  variables { router = merge(var.router, { count = 1 }) }

  expect_failures = [var.router]
}

run "refuses_more_routers_than_makes_sense" {
  command = plan
  variables { router = merge(var.router, { count = 21 }) }

  expect_failures = [var.router]
}

run "refuses_one_port_for_data_and_admin" {
  command = plan
  variables { router = merge(var.router, { admin_port = 8000 }) }

  expect_failures = [var.router]
}

run "refuses_a_privileged_port" {
  command = plan
  variables { router = merge(var.router, { port = 80 }) }

  expect_failures = [var.router]
}

run "refuses_a_listener_port_that_is_none" {
  command = plan
  variables { router = merge(var.router, { listener_port = 0 }) }

  expect_failures = [var.router]
}

run "refuses_plain_http_in_production" {
  command = plan
  variables { router = merge(var.router, { tls = null }) }

  expect_failures = [var.router]
}

run "refuses_tls_without_certificate_or_domain" {
  command = plan
  variables { router = merge(var.router, { tls = {} }) }

  expect_failures = [var.router]
}

run "refuses_tls_with_both_certificate_and_domain" {
  command = plan
  variables { router = merge(var.router, { tls = { certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/x", domain = "llm.example.com" } }) }

  expect_failures = [var.router]
}

run "refuses_nobody_allowed" {
  command = plan
  variables { router = merge(var.router, { allowed_cidrs = [] }) }

  expect_failures = [var.router]
}

run "refuses_a_range_that_is_none" {
  command = plan
  variables { router = merge(var.router, { allowed_cidrs = ["everywhere"] }) }

  expect_failures = [var.router]
}

run "refuses_the_admin_port_open_to_the_internet" {
  command = plan
  variables { router = merge(var.router, { admin_cidrs = ["0.0.0.0/0"] }) }

  expect_failures = [var.router]
}

run "refuses_the_admin_port_open_to_half_the_internet" {
  command = plan
  variables { router = merge(var.router, { admin_cidrs = ["128.0.0.0/1"] }) }

  expect_failures = [var.router]
}

run "refuses_an_idle_timeout_beyond_the_load_balancers" {
  command = plan
  variables { router = merge(var.router, { idle_timeout_s = 4001 }) }

  expect_failures = [var.router]
}

run "refuses_a_deregistration_delay_beyond_the_target_groups" {
  command = plan
  variables { router = merge(var.router, { deregistration_delay_s = 3601 }) }

  expect_failures = [var.router]
}

run "refuses_a_disk_too_small" {
  command = plan
  variables { router = merge(var.router, { root_volume_gb = 4 }) }

  expect_failures = [var.router]
}

run "refuses_a_document_too_long_for_a_parameter" {
  command = plan
  variables { router = merge(var.router, { document = jsonencode({ environment = "prod", listen = { port = 8000, admin_port = 8001 }, keys = { secret = "sglctl/prod/api-keys" }, filler = format("%08200d", 0) }) }) }

  expect_failures = [var.router]
}

run "refuses_a_document_that_is_no_json" {
  command = plan
  variables { router = merge(var.router, { document = "port: 8000" }) }

  expect_failures = [var.router]
}

run "refuses_the_document_of_another_environment" {
  command = plan
  variables { router = merge(var.router, { document = jsonencode({ environment = "dev", listen = { port = 8000, admin_port = 8001 }, keys = { secret = "sglctl/prod/api-keys" } }) }) }

  expect_failures = [var.router]
}

run "refuses_a_document_with_another_port" {
  command = plan
  variables { router = merge(var.router, { document = jsonencode({ environment = "prod", listen = { port = 9000, admin_port = 8001 }, keys = { secret = "sglctl/prod/api-keys" } }) }) }

  expect_failures = [var.router]
}

run "refuses_a_production_without_keys" {
  command = plan
  variables { router = merge(var.router, { document = jsonencode({ environment = "prod", listen = { port = 8000, admin_port = 8001 } }) }) }

  expect_failures = [var.router]
}

run "refuses_the_keys_of_another_environment" {
  command = plan
  variables { router = merge(var.router, { document = jsonencode({ environment = "prod", listen = { port = 8000, admin_port = 8001 }, keys = { secret = "sglctl/dev/api-keys" } }) }) }

  expect_failures = [var.router]
}

run "refuses_a_name_too_long_for_a_load_balancer" {
  command = plan
  variables { environment = "a-very-long-environment" }

  expect_failures = [var.environment]
}

run "refuses_an_image_without_ebs_root" {
  command   = plan
  providers = { aws = aws.instance_store_image }
  variables { router = merge(var.router, { tls = { certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/x" } }) }

  expect_failures = [data.aws_ami.router]
}
