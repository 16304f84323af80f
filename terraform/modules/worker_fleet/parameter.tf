# Not secret, so that a plan shows what changes.
resource "aws_ssm_parameter" "worker" {
  name           = "/sglctl/${var.environment}/fleets/${var.name}/worker"
  description    = "What a worker of fleet ${var.name} runs (FleetDocument)."
  type           = "String"
  tier           = length(var.fleet.document) > 4096 ? "Advanced" : "Standard"
  insecure_value = var.fleet.document
}
