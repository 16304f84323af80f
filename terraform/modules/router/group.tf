resource "aws_autoscaling_group" "routers" {
  name                = local.name
  min_size            = var.router.count
  max_size            = 2 * var.router.count # room to start the new ones before the old ones go
  desired_capacity    = var.router.count
  vpc_zone_identifier = var.private_subnet_ids
  target_group_arns   = [aws_lb_target_group.router.arn]

  # Not ELB: a router without a ready worker answers 503, and replacing routers would not bring workers.
  health_check_type         = "EC2"
  health_check_grace_period = 60
  wait_for_capacity_timeout = "0" # sglctl waits, and shows why

  termination_policies = ["OldestLaunchTemplate", "OldestInstance"]
  metrics_granularity  = "1Minute"
  enabled_metrics      = ["GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupTerminatingInstances"]

  launch_template {
    id      = aws_launch_template.routers.id
    version = aws_launch_template.routers.latest_version
  }

  # Not on instances: their release is that of the template version they were started from.
  tag {
    key                 = "sglctl:release"
    value               = var.release
    propagate_at_launch = false
  }

  dynamic "tag" {
    for_each = merge(local.lasting_tags, { Name = local.name })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  lifecycle {
    ignore_changes = [
      launch_template[0].version, # written by `sglctl rollout`
    ]
  }
}
