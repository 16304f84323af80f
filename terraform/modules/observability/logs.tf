resource "aws_cloudwatch_log_group" "hosts" {
  for_each = toset(["router", "worker"])

  name              = "/sglctl/${var.environment}/${each.key}"
  retention_in_days = var.observability.log_retention_days
}
