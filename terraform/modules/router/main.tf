locals {
  name = "sgl-${var.environment}-router"

  lasting_tags = merge(var.tags, {
    "sglctl:environment" = var.environment
    "sglctl:role"        = "router"
  })
}
