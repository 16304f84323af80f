output "admin_key_secret" {
  description = "Name of the admin key's secret."
  value       = aws_secretsmanager_secret.admin_key.name
}

output "api_keys_secret" {
  description = "Name of the API keys' secret."
  value       = aws_secretsmanager_secret.api_keys.name
}

output "group" {
  description = "Name of the routers' group."
  value       = aws_autoscaling_group.routers.name
}

output "load_balancer" {
  description = "Load balancer and target group as CloudWatch names them."
  value = {
    load_balancer = aws_lb.router.arn_suffix
    target_group  = aws_lb_target_group.router.arn_suffix
  }
}

output "security_group_id" {
  description = "Security group of the routers, the only source workers accept."
  value       = aws_security_group.routers.id
}

output "url" {
  description = "Where clients call."
  value       = "${var.router.tls == null ? "http" : "https"}://${aws_lb.router.dns_name}:${aws_lb_listener.router.port}"
}
