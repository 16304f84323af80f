mock_provider "aws" {
  mock_data "aws_acm_certificate" {
    defaults = { arn = "arn:aws:acm:us-east-1:111122223333:certificate/of-the-domain" }
  }
  mock_data "aws_ami" {
    defaults = { root_device_name = "/dev/xvda", root_device_type = "ebs" }
  }
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::111122223333:instance-profile/host" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 1 }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/sgl-prod-router/1", dns_name = "lb.example.com" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/sgl-prod-router/2" }
  }
}

# The example of docs/reference/interfaces.md, with a second fleet.
variables {
  environment = "prod"
  region      = "us-east-1"
  account_id  = "111122223333"
  release     = "2026.11.1"
  emulated    = false
  tags        = { team = "ml" }

  network = { cidr = "10.40.0.0/16", availability_zones = 2, nat = "single", existing = null }

  router = {
    image_id               = "ami-00000000000000001"
    instance_type          = "c7i.large"
    count                  = 2
    port                   = 8000
    admin_port             = 8001
    listener_port          = 443
    tls                    = { certificate_arn = null, domain = "llm.example.com" }
    internal               = false
    allowed_cidrs          = ["0.0.0.0/0"]
    admin_cidrs            = []
    idle_timeout_s         = 600
    deregistration_delay_s = 120
    root_volume_gb         = 20
    document               = "{\"environment\": \"prod\", \"listen\": {\"port\": 8000, \"admin_port\": 8001}, \"keys\": {\"secret\": \"sglctl/prod/api-keys\"}}"
  }

  fleets = {
    chat = {
      model            = "tiny"
      image_id         = "ami-00000000000000002"
      instance_types   = ["g6e.xlarge"]
      groups           = { on_demand = { min = 1, max = 4, desired = 1 }, spot = null }
      warm_pool        = null
      root_volume      = { size_gb = 120, iops = 3000, throughput_mbps = 125 }
      engine_port      = 30000
      agent_port       = 30080
      launch_timeout_s = 1800
      drain_deadline_s = 600
      document         = "{\"environment\": \"prod\", \"fleet\": \"chat\", \"engine_port\": 30000, \"agent_port\": 30080}"
      tags             = {}
    }
    code = {
      model          = "tiny"
      image_id       = "ami-00000000000000002"
      instance_types = ["g6e.xlarge", "g6.xlarge"]
      groups         = { on_demand = null, spot = { min = 0, max = 4, desired = 0 } }
      root_volume    = { size_gb = 120 }
      document       = "{\"environment\": \"prod\", \"fleet\": \"code\", \"engine_port\": 30000, \"agent_port\": 30080}"
    }
  }

  observability = { log_retention_days = 30, alarm_topic_arn = null, queue_depth = 10 }
}

run "the_outputs_are_those_of_the_contract" {
  command = apply

  assert {
    condition = output.groups == {
      router = "sgl-prod-router"
      fleets = {
        chat = { on_demand = "sgl-prod-chat-ondemand", spot = null }
        code = { on_demand = null, spot = "sgl-prod-code-spot" }
      }
    }
    error_message = "Groups by fleet; null where there is none."
  }

  assert {
    condition     = output.url == "https://lb.example.com:443" && output.api_keys_secret == "sglctl/prod/api-keys" && output.model_bucket == "sglctl-models-prod-111122223333-us-east-1" && output.vpc_id != ""
    error_message = "URL, secret, bucket, VPC."
  }
}

run "what_may_be_left_out_has_defaults" {
  command = apply
  variables {
    account_id    = null
    network       = {}
    observability = {}
    tags          = {}
  }

  assert {
    condition     = length(module.network.private_subnet_ids) == 2
    error_message = "Two zones."
  }
}

run "refuses_a_name_too_long_for_everything_made_of_it" {
  command = plan
  variables { environment = "production1" }

  expect_failures = [var.environment]
}

run "refuses_a_name_in_capitals" {
  command = plan
  variables { environment = "Prod" }

  expect_failures = [var.environment]
}

run "refuses_an_account_that_is_none" {
  command = plan
  variables { account_id = "my-account" }

  expect_failures = [var.account_id]
}

run "refuses_a_region_that_is_none" {
  command = plan
  variables { region = "us-east-1a" }

  expect_failures = [var.region]
}

run "refuses_a_release_that_breaks_the_user_data" {
  command = plan
  variables { release = "2026\"\nfleet: other" }

  expect_failures = [var.release]
}

run "refuses_a_tag_that_metadata_cannot_show" {
  command = plan
  variables { tags = { "cost centre" = "42" } }

  expect_failures = [var.tags]
}

run "refuses_a_tag_of_ours" {
  command = plan
  variables { tags = { "sglctl:role" = "worker" } }

  expect_failures = [var.tags]
}

run "refuses_an_environment_without_fleets" {
  command = plan
  variables { fleets = {} }

  expect_failures = [var.fleets]
}

run "refuses_a_fleet_called_like_a_group" {
  command = plan
  variables { fleets = { chat-spot = merge(var.fleets.chat, { document = "{\"environment\": \"prod\", \"fleet\": \"chat-spot\", \"engine_port\": 30000, \"agent_port\": 30080}" }) } }

  expect_failures = [var.fleets]
}

run "refuses_a_pair_of_a_fleet_with_itself" {
  command = plan
  variables { fleets = { chat = merge(var.fleets.chat, { prefill_for = "chat", document = "{\"environment\": \"prod\", \"fleet\": \"chat\", \"role\": \"prefill\", \"engine_port\": 30000, \"agent_port\": 30080}" }) } }

  expect_failures = [var.fleets]
}

run "the_halves_of_a_pair_meet_and_are_watched_as_one_fleet" {
  command = apply
  variables {
    fleets = {
      chat   = var.fleets.chat
      prompt = merge(var.fleets.chat, { prefill_for = "chat", document = "{\"environment\": \"prod\", \"fleet\": \"prompt\", \"role\": \"prefill\", \"engine_port\": 30000, \"agent_port\": 30080}" })
    }
  }

  assert {
    condition     = keys(module.worker_pair) == ["prompt"] && length(module.worker_pair["prompt"].rules) == 2
    error_message = "One pair, open in both directions."
  }

  assert {
    condition     = output.groups.fleets.prompt.on_demand == "sgl-prod-prompt-ondemand"
    error_message = "Each half has groups of its own."
  }
}
