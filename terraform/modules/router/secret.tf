# Terraform makes the secret and never sees a key: `sglctl deploy` puts the first value.
resource "aws_secretsmanager_secret" "api_keys" {
  name                    = "sglctl/${var.environment}/api-keys"
  description             = "API keys of environment ${var.environment}: {\"<key name>\": \"<key>\"}."
  recovery_window_in_days = var.emulated ? 0 : 7
}
