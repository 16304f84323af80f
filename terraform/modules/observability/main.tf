locals {
  namespace = "sglctl"
  actions   = var.observability.alarm_topic_arn == null ? [] : [var.observability.alarm_topic_arn]
}
