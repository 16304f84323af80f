locals {
  # Rows of two; each is a title, a statistic and the metrics shown.
  graphs = concat(
    [
      {
        title   = "Healthy routers", stat = "Minimum"
        metrics = [["AWS/ApplicationELB", "HealthyHostCount", "TargetGroup", var.load_balancer.target_group, "LoadBalancer", var.load_balancer.load_balancer]]
      },
      {
        title = "Answers of the load balancer", stat = "Sum"
        metrics = [
          for code in ["HTTPCode_Target_2XX_Count", "HTTPCode_Target_4XX_Count", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"] :
          ["AWS/ApplicationELB", code, "LoadBalancer", var.load_balancer.load_balancer]
        ]
      },
    ],
    [
      for metric, title in { ReadyWorkers = "Ready workers", QueueDepth = "Queued requests" } : {
        title                             = title, stat = "Average"
        metrics                           = [for fleet in sort(keys(var.fleets)) : [local.namespace, metric, "environment", var.environment, "fleet", fleet]]
      }
    ],
  )
}

resource "aws_cloudwatch_dashboard" "environment" {
  dashboard_name = "sgl-${var.environment}"
  dashboard_body = jsonencode({
    widgets = [
      for place, graph in local.graphs : {
        type   = "metric"
        x      = 12 * (place % 2)
        y      = 6 * floor(place / 2)
        width  = 12
        height = 6
        properties = {
          title   = graph.title
          stat    = graph.stat
          period  = 60
          region  = var.region
          view    = "timeSeries"
          metrics = graph.metrics
        }
      }
    ]
  })
}
