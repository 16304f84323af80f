# Always a mixed-instances policy, also for one type: going from one type to two then changes a list,
# and never which template version is in force.
# A warm pool beside a mixed-instances policy is allowed since November 2025, without Spot:
# https://aws.amazon.com/about-aws/whats-new/2025/11/ec2-auto-scaling-warm-pool-mixed-instances-policies/
# https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutWarmPool.html
resource "aws_autoscaling_group" "workers" {
  for_each = local.groups

  name                = local.names[each.key]
  min_size            = each.value.min
  max_size            = each.value.max
  desired_capacity    = each.value.desired
  vpc_zone_identifier = var.subnet_ids

  health_check_type         = "EC2"
  health_check_grace_period = 60
  wait_for_capacity_timeout = "0" # sglctl waits, and shows why

  capacity_rebalance    = each.key == "spot"
  termination_policies  = ["OldestLaunchTemplate", "OldestInstance"]
  metrics_granularity   = "1Minute"
  enabled_metrics       = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupTerminatingInstances", "WarmPoolWarmedCapacity"]
  protect_from_scale_in = false

  mixed_instances_policy {
    instances_distribution {
      on_demand_allocation_strategy            = "prioritized" # the order of instance_types is the order of wish
      on_demand_base_capacity                  = 0
      on_demand_percentage_above_base_capacity = each.key == "spot" ? 0 : 100
      spot_allocation_strategy                 = "price-capacity-optimized"
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.workers[each.key].id
        version            = aws_launch_template.workers[each.key].latest_version
      }

      dynamic "override" {
        for_each = var.fleet.instance_types

        content {
          instance_type = override.value
        }
      }
    }
  }

  # Here and not only as resources of their own: those would miss the group's first instances.
  dynamic "initial_lifecycle_hook" {
    for_each = local.hooks

    content {
      name                 = initial_lifecycle_hook.key
      lifecycle_transition = initial_lifecycle_hook.value.transition
      heartbeat_timeout    = initial_lifecycle_hook.value.timeout_s
      default_result       = initial_lifecycle_hook.value.default
    }
  }

  dynamic "warm_pool" {
    for_each = each.key == "ondemand" && var.fleet.warm_pool != null ? [var.fleet.warm_pool] : []

    content {
      min_size                    = warm_pool.value.min
      max_group_prepared_capacity = warm_pool.value.max_prepared
      pool_state                  = warm_pool.value.state

      instance_reuse_policy {
        reuse_on_scale_in = warm_pool.value.reuse_on_scale_in
      }
    }
  }

  # Not on instances: their release is that of the template version they were started from.
  tag {
    key                 = "sglctl:release"
    value               = var.release
    propagate_at_launch = false
  }

  dynamic "tag" {
    for_each = merge(local.lasting_tags, { Name = local.names[each.key] })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  lifecycle {
    ignore_changes = [
      desired_capacity,       # written by scaling and `sglctl scale`
      initial_lifecycle_hook, # only read at creation; aws_autoscaling_lifecycle_hook keeps it current
      # Written by `sglctl rollout`: a refresh started here would "roll back" to the version it came from.
      mixed_instances_policy[0].launch_template[0].launch_template_specification[0].version,
    ]
  }
}
