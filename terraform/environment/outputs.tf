output "admin_key_secret" {
  description = "Name of the admin key's secret."
  value       = module.router.admin_key_secret
}

output "api_keys_secret" {
  description = "Name of the API keys' secret."
  value       = module.router.api_keys_secret
}

output "groups" {
  description = "Auto Scaling groups of the routers and of each fleet."
  value = {
    router = module.router.group
    fleets = { for name, fleet in module.worker_fleet : name => fleet.groups }
  }
}

output "model_bucket" {
  description = "Bucket of the weights."
  value       = module.model_store.name
}

output "url" {
  description = "Where clients call."
  value       = module.router.url
}

output "vpc_id" {
  description = "VPC of the environment."
  value       = module.network.vpc_id
}
