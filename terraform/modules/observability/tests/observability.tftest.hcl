mock_provider "aws" {}

variables {
  environment   = "prod"
  fleets        = { chat = { min = 1 }, batch = { min = 0 } }
  load_balancer = { load_balancer = "app/sgl-prod-router/1", target_group = "targetgroup/sgl-prod-router/2" }
  observability = { log_retention_days = 14, alarm_topic_arn = "arn:aws:sns:us-east-1:111122223333:alarms", queue_depth = 25 }
  region        = "us-east-1"
}

run "logs_are_kept_for_a_time" {
  command = apply

  assert {
    condition     = { for role, group in aws_cloudwatch_log_group.hosts : group.name => group.retention_in_days } == { "/sglctl/prod/router" = 14, "/sglctl/prod/worker" = 14 }
    error_message = "Names follow the contract, retention the configuration."
  }
}

run "alarms_watch_routers_workers_and_queues" {
  command = apply

  assert {
    condition     = aws_cloudwatch_metric_alarm.no_healthy_router.metric_name == "HealthyHostCount" && aws_cloudwatch_metric_alarm.no_healthy_router.treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.no_healthy_router.dimensions.TargetGroup == "targetgroup/sgl-prod-router/2"
    error_message = "No healthy router."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.no_ready_worker["chat"].namespace == "sglctl" && aws_cloudwatch_metric_alarm.no_ready_worker["chat"].metric_name == "ReadyWorkers" && aws_cloudwatch_metric_alarm.no_ready_worker["chat"].dimensions == tomap({ environment = "prod", fleet = "chat" })
    error_message = "No ready worker, by environment and fleet."
  }

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.no_ready_worker) == ["chat"]
    error_message = "A fleet that may be empty raises no alarm when it is."
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.queue)) == toset(["batch", "chat"]) && aws_cloudwatch_metric_alarm.queue["chat"].threshold == 25 && aws_cloudwatch_metric_alarm.queue["chat"].metric_name == "QueueDepth"
    error_message = "Every fleet's queue."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.no_healthy_router.alarm_actions == toset(["arn:aws:sns:us-east-1:111122223333:alarms"]) && aws_cloudwatch_metric_alarm.queue["chat"].alarm_actions == toset(["arn:aws:sns:us-east-1:111122223333:alarms"])
    error_message = "The topic is told."
  }
}

run "alarms_without_a_topic_tell_nobody" {
  command = apply
  variables { observability = {} }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.no_healthy_router.alarm_actions) == 0 && aws_cloudwatch_metric_alarm.queue["chat"].threshold == 10
    error_message = "No action; the default threshold."
  }
}

run "the_dashboard_shows_every_fleet" {
  command = apply

  assert {
    condition     = length([for widget in jsondecode(aws_cloudwatch_dashboard.environment.dashboard_body).widgets : widget if strcontains(jsonencode(widget), "\"chat\"") && strcontains(jsonencode(widget), "\"batch\"")]) == 2
    error_message = "Ready workers and queues of both fleets."
  }
}

run "refuses_a_retention_cloudwatch_does_not_know" {
  command = plan
  variables { observability = { log_retention_days = 31 } }

  expect_failures = [var.observability]
}

run "refuses_a_topic_that_is_no_arn" {
  command = plan
  variables { observability = { alarm_topic_arn = "alarms" } }

  expect_failures = [var.observability]
}

run "refuses_a_queue_depth_of_zero" {
  command = plan
  variables { observability = { queue_depth = 0 } }

  expect_failures = [var.observability]
}
