mock_provider "aws" {
  mock_data "aws_ami" {
    defaults = { root_device_name = "/dev/xvda", root_device_type = "ebs" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::111122223333:instance-profile/worker" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 3 }
  }
  mock_resource "aws_security_group" {
    defaults = { id = "sg-00000000000000001" }
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
  tags                     = { team = "ml" }
  vpc_id                   = "vpc-00000000000000001"

  fleet = {
    model          = "tiny"
    image_id       = "ami-00000000000000001"
    instance_types = ["g6e.xlarge", "g6.xlarge"]
    groups = {
      on_demand = { min = 1, max = 4, desired = 2 }
      spot      = { min = 0, max = 8, desired = 3 }
    }
    warm_pool        = { min = 1, max_prepared = 4, state = "Stopped", reuse_on_scale_in = true }
    root_volume      = { size_gb = 120, iops = 4000, throughput_mbps = 250 }
    engine_port      = 30000
    agent_port       = 30080
    launch_timeout_s = 1800
    drain_deadline_s = 600
    document         = "{\"environment\": \"prod\", \"fleet\": \"chat\", \"engine_port\": 30000, \"agent_port\": 30080}"
    tags             = { cost = "42" }
  }
}

run "names_follow_the_contract" {
  command = apply

  assert {
    condition     = output.groups.on_demand == "sgl-prod-chat-ondemand" && output.groups.spot == "sgl-prod-chat-spot"
    error_message = "Groups are called sgl-<env>-<fleet>-ondemand and -spot."
  }

  assert {
    condition     = alltrue([for suffix, template in aws_launch_template.workers : template.name == aws_autoscaling_group.workers[suffix].name])
    error_message = "A launch template has its group's name."
  }

  assert {
    condition     = aws_ssm_parameter.worker.name == "/sglctl/prod/fleets/chat/worker" && aws_ssm_parameter.worker.insecure_value == var.fleet.document
    error_message = "The FleetDocument lies in its parameter."
  }
}

run "instances_take_only_imdsv2_and_encrypted_disks" {
  command = apply

  assert {
    condition = alltrue([
      for template in aws_launch_template.workers :
      template.metadata_options[0].http_tokens == "required" && template.metadata_options[0].http_put_response_hop_limit == 1 && template.metadata_options[0].instance_metadata_tags == "enabled"
    ])
    error_message = "Instance metadata needs a token, is one hop away and holds the tags."
  }

  assert {
    condition = alltrue([
      for template in aws_launch_template.workers :
      template.block_device_mappings[0].device_name == "/dev/xvda" && template.block_device_mappings[0].ebs[0].encrypted == "true" && template.block_device_mappings[0].ebs[0].volume_type == "gp3" && template.block_device_mappings[0].ebs[0].iops == 4000
    ])
    error_message = "The image's root device is an encrypted gp3 volume of the size asked for."
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.workers : yamldecode(base64decode(template.user_data)) == { environment = "prod", fleet = "chat", release = "2026.11.1" }])
    error_message = "User data is YAML that names environment, fleet and release, nothing else."
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.workers : template.iam_instance_profile[0].arn == aws_iam_instance_profile.worker.arn])
    error_message = "Workers have their own instance profile."
  }
}

run "a_number_like_release_stays_text" {
  command = plan
  variables { release = "2026.10" }

  assert {
    condition     = yamldecode(base64decode(aws_launch_template.workers["ondemand"].user_data)).release == "2026.10"
    error_message = "The release is quoted in the user data."
  }
}

run "a_prefill_worker_is_tagged_for_its_pair" {
  command = plan
  variables {
    fleet = merge(var.fleet, { prefill_for = "answer", document = "{\"environment\": \"prod\", \"fleet\": \"chat\", \"role\": \"prefill\", \"engine_port\": 30000, \"agent_port\": 30080}" })
  }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.workers : one([for tag in group.tag : tag.value if tag.key == "sglctl:pair"]) == "answer"])
    error_message = "Routers take it in the place of its decode fleet."
  }
}

run "tags_reach_instances_volumes_and_groups" {
  command = apply

  assert {
    condition = alltrue([
      for template in aws_launch_template.workers :
      toset([for specification in template.tag_specifications : specification.resource_type]) == toset(["instance", "volume"])
    ])
    error_message = "Instances and volumes are tagged."
  }

  assert {
    condition = alltrue([
      for specification in aws_launch_template.workers["spot"].tag_specifications : specification.tags == tomap({
        Name                 = "sgl-prod-chat-spot"
        cost                 = "42"
        "sglctl:environment" = "prod"
        "sglctl:fleet"       = "chat"
        "sglctl:release"     = "2026.11.1"
        "sglctl:role"        = "worker"
        team                 = "ml"
      })
    ])
    error_message = "The tags are those of the contract, the environment and the fleet."
  }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.workers : !one([for tag in group.tag : tag.propagate_at_launch if tag.key == "sglctl:release"])])
    error_message = "A group does not overwrite the release of instances that an older template version started."
  }

  assert {
    condition = alltrue([
      for group in aws_autoscaling_group.workers :
      one([for tag in group.tag : tag.value if tag.key == "sglctl:environment"]) == "prod" && one([for tag in group.tag : tag.value if tag.key == "sglctl:role"]) == "worker"
    ])
    error_message = "Groups carry environment and role; the agent's permission rests on the first."
  }
}

run "capacity_is_split_between_on_demand_and_spot" {
  command = apply

  assert {
    condition     = aws_autoscaling_group.workers["ondemand"].mixed_instances_policy[0].instances_distribution[0].on_demand_percentage_above_base_capacity == 100 && aws_autoscaling_group.workers["ondemand"].mixed_instances_policy[0].instances_distribution[0].on_demand_allocation_strategy == "prioritized"
    error_message = "The on-demand group buys no Spot, in the order of instance_types."
  }

  assert {
    condition     = aws_autoscaling_group.workers["spot"].mixed_instances_policy[0].instances_distribution[0].on_demand_percentage_above_base_capacity == 0 && aws_autoscaling_group.workers["spot"].mixed_instances_policy[0].instances_distribution[0].spot_allocation_strategy == "price-capacity-optimized"
    error_message = "The Spot group buys only Spot, where capacity is."
  }

  assert {
    condition     = [for override in aws_autoscaling_group.workers["ondemand"].mixed_instances_policy[0].launch_template[0].override : override.instance_type] == ["g6e.xlarge", "g6.xlarge"]
    error_message = "Instance types keep their order."
  }

  assert {
    condition     = aws_autoscaling_group.workers["spot"].capacity_rebalance && !aws_autoscaling_group.workers["ondemand"].capacity_rebalance
    error_message = "A Spot worker at risk is replaced before it is taken."
  }

  assert {
    condition     = aws_autoscaling_group.workers["spot"].min_size == 0 && aws_autoscaling_group.workers["spot"].max_size == 8 && aws_autoscaling_group.workers["spot"].desired_capacity == 3 && aws_autoscaling_group.workers["ondemand"].desired_capacity == 2
    error_message = "Sizes are those asked for."
  }

  assert {
    condition     = alltrue([for group in aws_autoscaling_group.workers : group.wait_for_capacity_timeout == "0" && length(group.enabled_metrics) > 0])
    error_message = "Terraform does not wait for instances, and the groups report metrics."
  }
}

run "only_the_on_demand_group_has_the_warm_pool" {
  command = apply

  assert {
    condition     = aws_autoscaling_group.workers["ondemand"].warm_pool[0].min_size == 1 && aws_autoscaling_group.workers["ondemand"].warm_pool[0].max_group_prepared_capacity == 4 && aws_autoscaling_group.workers["ondemand"].warm_pool[0].pool_state == "Stopped" && aws_autoscaling_group.workers["ondemand"].warm_pool[0].instance_reuse_policy[0].reuse_on_scale_in
    error_message = "The warm pool is the one asked for."
  }

  assert {
    condition     = length(aws_autoscaling_group.workers["spot"].warm_pool) == 0
    error_message = "Spot has no warm pool."
  }
}

run "hooks_hold_launch_and_termination" {
  command = apply

  assert {
    condition = alltrue([
      for group in aws_autoscaling_group.workers :
      { for hook in group.initial_lifecycle_hook : hook.name => [hook.lifecycle_transition, hook.heartbeat_timeout, hook.default_result] } == {
        launch    = ["autoscaling:EC2_INSTANCE_LAUNCHING", 1800, "ABANDON"]
        terminate = ["autoscaling:EC2_INSTANCE_TERMINATING", 120, "CONTINUE"]
      }
    ])
    error_message = "Both hooks are there before the first instance."
  }

  assert {
    condition     = toset(keys(aws_autoscaling_lifecycle_hook.workers)) == toset(["ondemand/launch", "ondemand/terminate", "spot/launch", "spot/terminate"]) && aws_autoscaling_lifecycle_hook.workers["spot/launch"].heartbeat_timeout == 1800
    error_message = "A changed timeout reaches groups that exist."
  }
}

run "a_short_drain_deadline_shortens_the_heartbeat" {
  command = plan
  variables { fleet = merge(var.fleet, { drain_deadline_s = 45 }) }

  assert {
    condition     = aws_autoscaling_lifecycle_hook.workers["ondemand/terminate"].heartbeat_timeout == 45
    error_message = "The terminate heartbeat is no longer than the drain deadline."
  }
}

run "a_fleet_without_spot_has_one_group" {
  command = apply
  variables { fleet = merge(var.fleet, { groups = { on_demand = { min = 1, max = 1, desired = 1 } }, warm_pool = null }) }

  assert {
    condition     = keys(aws_autoscaling_group.workers) == ["ondemand"] && output.groups.spot == null && length(aws_autoscaling_group.workers["ondemand"].warm_pool) == 0
    error_message = "Neither Spot group nor warm pool."
  }
}

run "workers_accept_only_routers" {
  command = apply

  assert {
    condition     = { for name, rule in aws_vpc_security_group_ingress_rule.routers : name => [rule.from_port, rule.to_port] } == { agent = [30080, 30080], engine = [30000, 30000] }
    error_message = "Engine and agent port, nothing else."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.routers : rule.referenced_security_group_id == "sg-00000000000000002" && rule.cidr_ipv4 == null])
    error_message = "From the routers' security group only."
  }
}

run "an_agent_may_act_only_on_its_own_groups" {
  command = apply

  assert {
    condition = toset(one([for statement in data.aws_iam_policy_document.worker.statement : statement.resources if statement.sid == "OwnLifecycleActions"])) == toset([
      "arn:aws:autoscaling:us-east-1:111122223333:autoScalingGroup:*:autoScalingGroupName/sgl-prod-chat-ondemand",
      "arn:aws:autoscaling:us-east-1:111122223333:autoScalingGroup:*:autoScalingGroupName/sgl-prod-chat-spot",
    ])
    error_message = "Lifecycle actions are allowed on the fleet's groups by name."
  }

  assert {
    condition = one([for statement in data.aws_iam_policy_document.worker.statement : [
      for condition in statement.condition : "${condition.test} ${condition.variable} ${join(",", condition.values)}"
    ] if statement.sid == "OwnLifecycleActions"]) == ["StringEquals aws:ResourceTag/sglctl:environment prod"]
    error_message = "… and only while the group is tagged with the environment."
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.worker.statement : one(statement.resources) if statement.sid == "OwnDocument"]) == "arn:aws:ssm:us-east-1:111122223333:parameter/sglctl/prod/fleets/chat/worker"
    error_message = "A worker reads its own fleet's parameter."
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.worker.statement : one(statement.resources) if statement.sid == "OwnWeights"]) == "arn:aws:s3:::sglctl-models-prod-111122223333-us-east-1/tiny/*"
    error_message = "A worker reads its own model's weights."
  }

  assert {
    condition = alltrue([for statement in data.aws_iam_policy_document.worker.statement : alltrue([
      for action in statement.actions : !endswith(action, "*")
    ])])
    error_message = "No action is a wildcard."
  }

  assert {
    condition     = toset([for statement in data.aws_iam_policy_document.worker.statement : statement.sid if contains(statement.resources, "*")]) == toset(["ManagedInstance", "OwnLifecycleState"])
    error_message = "Only what has no resource-level permissions is allowed on everything."
  }
}
