# Terraform makes the secrets and never sees a key: `sglctl deploy` puts the first value of the first
# two, a person that of an external API.
resource "aws_secretsmanager_secret" "api_keys" {
  name                    = "sglctl/${var.environment}/api-keys"
  description             = "API keys of environment ${var.environment}: {\"<key name>\": \"<key>\"}."
  recovery_window_in_days = var.emulated ? 0 : 7
}

resource "aws_secretsmanager_secret" "admin_key" {
  name                    = "sglctl/${var.environment}/admin-key"
  description             = "Key of the routers' admin port of environment ${var.environment}: the key alone."
  recovery_window_in_days = var.emulated ? 0 : 7
}

resource "aws_secretsmanager_secret" "externals" {
  for_each = toset(var.router.externals)

  name                    = "sglctl/${var.environment}/external/${each.key}"
  description             = "Key of the external API ${each.key} of environment ${var.environment}: the key alone."
  recovery_window_in_days = var.emulated ? 0 : 7
}
