# Not secret, so that a plan shows what changes.
resource "aws_ssm_parameter" "router" {
  name           = "/sglctl/${var.environment}/router"
  description    = "What the routers do (RouterDocument)."
  type           = "String"
  tier           = length(var.router.document) > 4096 ? "Advanced" : "Standard"
  insecure_value = var.router.document
}
