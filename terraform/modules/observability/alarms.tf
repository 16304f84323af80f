resource "aws_cloudwatch_metric_alarm" "no_healthy_router" {
  alarm_name          = "sgl-${var.environment}-no-healthy-router"
  alarm_description   = "The load balancer of environment ${var.environment} has no healthy router: clients get errors. A router without a ready worker counts as unhealthy."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  statistic           = "Maximum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 2
  treat_missing_data  = "breaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions

  dimensions = {
    LoadBalancer = var.load_balancer.load_balancer
    TargetGroup  = var.load_balancer.target_group
  }
}

resource "aws_cloudwatch_metric_alarm" "no_ready_worker" {
  for_each = { for name, fleet in var.fleets : name => fleet if fleet.min > 0 }

  alarm_name          = "sgl-${var.environment}-${each.key}-no-ready-worker"
  alarm_description   = "Fleet ${each.key} of environment ${var.environment} has no ready worker, or no router reports any."
  namespace           = local.namespace
  metric_name         = "ReadyWorkers"
  statistic           = "Maximum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 2
  treat_missing_data  = "breaching" # routers report every ten seconds; silence means there are none
  alarm_actions       = local.actions
  ok_actions          = local.actions

  dimensions = { environment = var.environment, fleet = each.key }
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  for_each = var.fleets

  alarm_name          = "sgl-${var.environment}-${each.key}-queue"
  alarm_description   = "Requests of fleet ${each.key} of environment ${var.environment} have waited in queues for five minutes: it is too small, or workers are slow."
  namespace           = local.namespace
  metric_name         = "QueueDepth"
  statistic           = "Average"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.observability.queue_depth
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions

  dimensions = { environment = var.environment, fleet = each.key }
}
