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
  account_id               = "111122223333"
  environment              = "prod"
  log_group_arn            = "arn:aws:logs:us-east-1:111122223333:log-group:/sglctl/prod/worker"
  model_bucket_arn         = "arn:aws:s3:::sglctl-models-prod-111122223333-us-east-1"
  name                     = "chat"
  region                   = "us-east-1"
  release                  = "2026.11.1"
  router_security_group_id = "sg-00000000000000002"
  subnet_ids               = ["subnet-00000000000000001", "subnet-00000000000000002"]
  vpc_id                   = "vpc-00000000000000001"

  fleet = {
    model          = "tiny"
    image_id       = "ami-00000000000000001"
    instance_types = ["g6e.xlarge"]
    groups         = { on_demand = { min = 1, max = 4, desired = 2 } }
    root_volume    = { size_gb = 120 }
    document       = "{\"environment\": \"prod\", \"fleet\": \"chat\", \"engine_port\": 30000, \"agent_port\": 30080}"
  }
}

run "refuses_no_instance_type" {
  command = plan
  variables { fleet = merge(var.fleet, { instance_types = [] }) }

  expect_failures = [var.fleet]
}

run "refuses_the_same_instance_type_twice" {
  command = plan
  variables { fleet = merge(var.fleet, { instance_types = ["g6.xlarge", "g6.xlarge"] }) }

  expect_failures = [var.fleet]
}

run "refuses_an_image_that_is_no_image_id" {
  command = plan
  variables { fleet = merge(var.fleet, { image_id = "debian-12" }) }

  expect_failures = [var.fleet]
}

run "refuses_a_fleet_without_groups" {
  command = plan
  variables { fleet = merge(var.fleet, { groups = {} }) }

  expect_failures = [var.fleet]
}

run "refuses_more_minimum_than_maximum" {
  command = plan
  variables { fleet = merge(var.fleet, { groups = { on_demand = { min = 5, max = 4, desired = 4 } } }) }

  expect_failures = [var.fleet]
}

run "refuses_desired_beyond_maximum" {
  command = plan
  variables { fleet = merge(var.fleet, { groups = { on_demand = { min = 1, max = 4, desired = 5 } } }) }

  expect_failures = [var.fleet]
}

run "refuses_a_negative_spot_minimum" {
  command = plan
  variables { fleet = merge(var.fleet, { groups = { spot = { min = -1, max = 4, desired = 1 } } }) }

  expect_failures = [var.fleet]
}

run "refuses_a_warm_pool_of_spot_instances" {
  command = plan
  variables { fleet = merge(var.fleet, { groups = { spot = { min = 0, max = 4, desired = 1 } }, warm_pool = { min = 1 } }) }

  expect_failures = [var.fleet]
}

run "refuses_a_warm_pool_that_hibernates" {
  command = plan
  variables { fleet = merge(var.fleet, { warm_pool = { min = 1, state = "Hibernated" } }) }

  expect_failures = [var.fleet]
}

run "refuses_a_warm_pool_with_more_minimum_than_prepared" {
  command = plan
  variables { fleet = merge(var.fleet, { warm_pool = { min = 3, max_prepared = 2 } }) }

  expect_failures = [var.fleet]
}

run "refuses_a_disk_without_size" {
  command = plan
  variables { fleet = merge(var.fleet, { root_volume = { size_gb = 0 } }) }

  expect_failures = [var.fleet]
}

run "refuses_more_iops_than_gp3_has" {
  command = plan
  variables { fleet = merge(var.fleet, { root_volume = { size_gb = 500, iops = 20000 } }) }

  expect_failures = [var.fleet]
}

run "refuses_more_throughput_than_the_iops_carry" {
  command = plan
  variables { fleet = merge(var.fleet, { root_volume = { size_gb = 500, iops = 3000, throughput_mbps = 1000 } }) }

  expect_failures = [var.fleet]
}

run "refuses_one_port_for_engine_and_agent" {
  command = plan
  variables { fleet = merge(var.fleet, { engine_port = 30080 }) }

  expect_failures = [var.fleet]
}

run "refuses_a_privileged_port" {
  command = plan
  variables { fleet = merge(var.fleet, { engine_port = 80 }) }

  expect_failures = [var.fleet]
}

run "refuses_a_launch_timeout_beyond_the_hooks_range" {
  command = plan
  variables { fleet = merge(var.fleet, { launch_timeout_s = 7201 }) }

  expect_failures = [var.fleet]
}

run "refuses_a_drain_deadline_beyond_the_hooks_range" {
  command = plan
  variables { fleet = merge(var.fleet, { drain_deadline_s = 12001 }) }

  expect_failures = [var.fleet]
}

run "refuses_a_document_too_long_for_a_parameter" {
  command = plan
  variables { fleet = merge(var.fleet, { document = jsonencode({ environment = "prod", fleet = "chat", engine_port = 30000, agent_port = 30080, filler = format("%08200d", 0) }) }) }

  expect_failures = [var.fleet]
}

run "refuses_a_document_that_is_no_json" {
  command = plan
  variables { fleet = merge(var.fleet, { document = "fleet: chat" }) }

  expect_failures = [var.fleet]
}

run "refuses_the_document_of_another_fleet" {
  command = plan
  variables { fleet = merge(var.fleet, { document = "{\"environment\": \"prod\", \"fleet\": \"code\", \"engine_port\": 30000, \"agent_port\": 30080}" }) }

  expect_failures = [var.fleet]
}

run "refuses_the_document_of_another_environment" {
  command = plan
  variables { fleet = merge(var.fleet, { document = "{\"environment\": \"dev\", \"fleet\": \"chat\", \"engine_port\": 30000, \"agent_port\": 30080}" }) }

  expect_failures = [var.fleet]
}

run "refuses_a_document_with_another_engine_port" {
  command = plan
  variables { fleet = merge(var.fleet, { document = "{\"environment\": \"prod\", \"fleet\": \"chat\", \"engine_port\": 30001, \"agent_port\": 30080}" }) }

  expect_failures = [var.fleet]
}

run "refuses_a_tag_that_metadata_cannot_show" {
  command = plan
  variables { fleet = merge(var.fleet, { tags = { "cost centre" = "42" } }) }

  expect_failures = [var.fleet]
}

run "refuses_a_tag_of_ours" {
  command = plan
  variables { fleet = merge(var.fleet, { tags = { "sglctl:release" = "mine" } }) }

  expect_failures = [var.fleet]
}

run "refuses_a_name_in_capitals" {
  command = plan
  variables { name = "Chat" }

  expect_failures = [var.name]
}

run "refuses_a_name_that_is_too_long" {
  command = plan
  variables { name = "chat-for-everybody" }

  expect_failures = [var.name]
}

run "refuses_an_image_without_ebs_root" {
  command   = plan
  providers = { aws = aws.instance_store_image }

  expect_failures = [data.aws_ami.worker]
}

run "refuses_a_pair_for_a_fleet_that_does_not_prefill" {
  command = plan
  variables { fleet = merge(var.fleet, { prefill_for = "other" }) }

  expect_failures = [var.fleet]
}

run "refuses_a_prefill_fleet_without_its_pair" {
  command = plan
  variables { fleet = merge(var.fleet, { document = "{\"environment\": \"prod\", \"fleet\": \"chat\", \"role\": \"prefill\", \"engine_port\": 30000, \"agent_port\": 30080}" }) }

  expect_failures = [var.fleet]
}
