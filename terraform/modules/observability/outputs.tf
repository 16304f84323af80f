output "log_group_arns" {
  description = "Log groups of `router` and `worker`."
  value       = { for role, group in aws_cloudwatch_log_group.hosts : role => group.arn }
}
